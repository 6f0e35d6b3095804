#!/usr/bin/env bash
# LeNet on MNIST, sigma 0.5: the methods that train for certificates, each with about as much training as 30 minutes on two
# cores allow (one core for an hour), beside noisy and stability training of ../mnist-lenet. Certified at radius 0.5, 1 and
# 1.5 with at most 100,000 draws on every 20th test image (500), and on every 5th (2,000) for paired intervals.
# Every command resumes: run the script again after a stop, or two side by side on different METHODS.
#   bash run.sh train certify pairs report
set -euo pipefail
cd "$(dirname "$0")"

methods=${METHODS:-consistency macer smoothadv cat-rs smoothmix}
lenet="../mnist-lenet/mnist-noisy-0.50 ../mnist-lenet/mnist-stability-0.50"

cut() { # what makes a recipe of hours one of an hour
  case $1 in
    consistency) echo "--set train.epochs=24" ;;
    macer) echo "--set train.epochs=6 --set method.draws=8" ;;
    smoothadv) echo "--set train.epochs=10 --set method.draws=2 --set method.steps=3" ;;
    cat-rs) echo "--set train.epochs=4" ;;
    smoothmix) echo "--set train.epochs=6 --set method.draws=2 --set method.steps=4" ;;
  esac
}

certify() { # run, every
  gambeson certify "$1" --noise gaussian:0.5 --radii 0.5,1,1.5 --every "$2" --threads 1 "${@:3}"
}

for what in "${@:-train}"; do
  for method in $methods; do
    run=mnist-$method-0.50
    case $what in
      # shellcheck disable=SC2046
      train) [ -f "$run/header.json" ] || gambeson train "$run" --out "$run" $(cut "$method") ;;
      certify) certify "$run" 20 ;;
      pairs) certify "$run" 5 ;;
      report) ;; # once, of all runs: below
      *) echo "run.sh: $what is none of train, certify, pairs, report" >&2; exit 2 ;;
    esac
  done
  # shellcheck disable=SC2086
  [ "$what" != report ] || { gambeson report $lenet mnist-*-0.50 --out report && python ../fill.py; }
done
