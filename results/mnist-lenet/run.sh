#!/usr/bin/env bash
# LeNet on MNIST: plain, noisy and stability training, certified with both budgets and attacked on every 20th test image
# (500), smoothed classifiers attacked on every 100th (100). The first command of a run chooses its inference form
# (forms.json); the others use it. Every command resumes: run the script again after a stop.
#   bash run.sh stability noisy plain report
set -euo pipefail
cd "$(dirname "$0")"

sigmas="0.50 1.00 0.25"

train() { [ -f "$1/header.json" ] || gambeson train "$1" --out "$1"; }  # weights are kept with the results

evaluate() { # run, noise
  gambeson certify "$1" --noise "$2" --every 20 --budget fixed
  gambeson certify "$1" --noise "$2" --every 20 --seed 1  # other noise, to compare the two budgets
  gambeson attack "$1" --noise "$2" --norm l2 --eps 0,0.5,1,1.5,2,2.5 --every 100 --keep 4
  gambeson attack "$1" --noise "$2" --norm linf --eps 0,0.05,0.1,0.15,0.2 --every 100 --keep 4
}

attack_base() {
  gambeson attack "$1" --norm l2 --eps 0,0.25,0.5,0.75,1,1.25,1.5,2,2.5,3 --every 20 --keep 4
  gambeson attack "$1" --norm linf --eps 0,0.02,0.05,0.1,0.15,0.2,0.25,0.3 --every 20 --keep 4
  gambeson attack "$1" --norm linf --attack fgsm --eps 0.1,0.3 --every 20 --keep 0  # for the check of one step against many
  gambeson check "$1" --no-measure
}

for method in "${@:-stability}"; do
  case $method in
    stability | noisy)
      for sigma in $sigmas; do
        train "mnist-$method-$sigma"
        evaluate "mnist-$method-$sigma" "gaussian:$sigma"
        attack_base "mnist-$method-$sigma"
      done ;;
    plain)
      train mnist-plain
      for sigma in $sigmas; do evaluate mnist-plain "gaussian:$sigma"; done
      attack_base mnist-plain ;;
    report) gambeson report mnist-plain mnist-noisy-* mnist-stability-* --out report && python ../fill.py ;;
    *) echo "run.sh: $method is none of stability, noisy, plain, report" >&2; exit 2 ;;
  esac
done
