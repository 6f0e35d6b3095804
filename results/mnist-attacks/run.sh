#!/usr/bin/env bash
# LeNet on MNIST under the strongest attacks: the models of ../mnist-lenet, and one trained adversarially here. Base models
# on every 50th test image (200), under `strong` in full; smoothed classifiers on every 200th (50), with 5 % of its restarts
# and queries. Every command resumes: run the script again after a stop.
#   bash run.sh base smoothed report
set -euo pipefail
cd "$(dirname "$0")"

lenet=../mnist-lenet
base="mnist-plain mnist-noisy-0.50 mnist-stability-0.50 mnist-adversarial-0.3"

model() { # where a run's weights are
  if [ -d "$lenet/$1" ]; then echo "$lenet/$1/model.safetensors --data mnist --out $1"; else echo "$1"; fi
}

[ -f mnist-adversarial-0.3/header.json ] || gambeson train mnist-adversarial-0.3 --out mnist-adversarial-0.3

for what in "${@:-base}"; do
  case $what in
    base)
      for run in $base; do
        other=mnist-plain; [ "$run" != mnist-plain ] || other=mnist-noisy-0.50
        transfer="$lenet/$other/model.safetensors"
        # shellcheck disable=SC2046
        for ball in "linf 0.1,0.3" "l2 1,2"; do
          set -- $ball
          gambeson attack $(model "$run") --norm "$1" --eps "$2" --every 50 --preset strong --transfer "$transfer" --keep 8
          for loss in cross_entropy margin dlr; do
            gambeson attack $(model "$run") --norm "$1" --eps "$2" --every 50 --steps 100 --restarts 5 --loss $loss --keep 0
          done
          gambeson check $(model "$run") --norm "$1" --eps "${2%,*}" --every 50 --transfer "$transfer"
        done
        for attack in deepfool ddn carlini_wagner_l2 fmn high_confidence boundary; do
          gambeson attack $(model "$run") --attack $attack --norm l2 --every 50 --keep 8
        done
        gambeson attack $(model "$run") --attack carlini_wagner_linf --every 50 --keep 8
      done ;;
    smoothed)
      for sigma in 0.50; do
        for method in noisy stability; do
          # shellcheck disable=SC2046
          gambeson attack $(model "mnist-$method-$sigma") --noise "gaussian:$sigma" --norm l2 --eps 1,2 --every 200 \
            --preset strong --share 0.05 --transfer "$lenet/mnist-plain/model.safetensors" --keep 8
        done
      done ;;
    report) gambeson report mnist-plain mnist-noisy-* mnist-stability-* mnist-adversarial-* --out report && python ../fill.py ;;
    *) echo "run.sh: $what is none of base, smoothed, report" >&2; exit 2 ;;
  esac
done
