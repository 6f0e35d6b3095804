#!/usr/bin/env bash
# LeNet on MNIST in linf: fast, TRADES, CURE and LLR beside the plain and the adversarially trained network of
# ../mnist-attacks, trained for 20 epochs with seven steps of a search like that one, and attacked by the same suite on the
# same images. Every command resumes: run the script again after a stop, or two side by side on different METHODS.
#   bash run.sh train linf checks report
set -euo pipefail
cd "$(dirname "$0")"

methods=${METHODS:-fast cure trades llr}
others="../mnist-attacks/mnist-plain ../mnist-attacks/mnist-adversarial-0.3"
transfer=../mnist-attacks/independent/model.safetensors
share=${SHARE:-0.02}

cut() {
  case $1 in
    fast | cure) echo "--set train.epochs=20" ;;
    trades) echo "--set train.epochs=20 --set method.steps=7 --set method.step_size=0.1" ;;
    llr) echo "--set train.epochs=20 --set method.steps=5" ;;
  esac
}

for what in "${@:-train}"; do
  for method in $methods; do
    run=mnist-$method-0.3
    case $what in
      # shellcheck disable=SC2046
      train) [ -f "$run/header.json" ] || gambeson train "$run" --out "$run" $(cut "$method") ;;
      linf)
        gambeson attack "$run" --norm linf --eps 0.1,0.3 --every 50 --preset strong --share "$share" --transfer "$transfer" --keep 8
        gambeson attack "$run" --attack deepfool --norm linf --every 50 --keep 8 ;;
      checks) gambeson check "$run" --norm linf --eps 0.3 --every 50 --transfer "$transfer" || [ $? = 1 ] ;;
      report) ;; # once, of all runs: below
      *) echo "run.sh: $what is none of train, linf, checks, report" >&2; exit 2 ;;
    esac
  done
  # shellcheck disable=SC2086
  [ "$what" != report ] || { gambeson report $others mnist-*-0.3 --out report && python ../fill.py; }
done
