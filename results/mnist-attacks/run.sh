#!/usr/bin/env bash
# LeNet on MNIST under the strongest attacks: the models of ../mnist-lenet, and one trained adversarially here. Base models
# on every 50th test image (200), smoothed classifiers on every 200th (50); SHARE of a suite's restarts and queries is
# recorded, and printed in the report's rows. Every command resumes: run the script again after a stop, or two side by side
# on different MODELS.
#   bash run.sh linf checks smoothed nearest objectives report
set -euo pipefail
cd "$(dirname "$0")"

lenet=../mnist-lenet
noisy="mnist-noisy-0.25 mnist-noisy-0.50 mnist-noisy-1.00 mnist-stability-0.25 mnist-stability-0.50 mnist-stability-1.00"
models=${MODELS:-mnist-plain $noisy mnist-adversarial-0.3}
share=${SHARE:-0.02}

model() { # where a run's weights are
  if [ -d "$lenet/$1" ]; then echo "$lenet/$1/model.safetensors --data mnist --out $1"; else echo "$1"; fi
}

# The recipe's 60 epochs of 10 steps take hours on two cores: 20 of 7 here.
[ -f mnist-adversarial-0.3/header.json ] || gambeson train mnist-adversarial-0.3 --out mnist-adversarial-0.3 \
  --set train.epochs=20 --set method.steps=7 --set method.step_size=0.1
# What transfers to the others: a plain network, trained independently of all of them.
[ -f independent/header.json ] || gambeson train mnist-plain --out independent --set seed=1 --set name=independent \
  --set train.epochs=10
transfer=independent/model.safetensors

for what in "${@:-linf}"; do
  for run in $models; do
    # shellcheck disable=SC2046,SC2086
    case $what in
      linf)
        gambeson attack $(model "$run") --norm linf --eps 0.1,0.3 --every 50 --preset strong --share "$share" \
          --transfer "$transfer" --keep 8
        for loss in cross_entropy margin dlr; do
          gambeson attack $(model "$run") --norm linf --eps 0.1,0.3 --every 50 --steps 50 --restarts 2 --loss $loss --keep 0
        done ;;
      checks)
        eps=0.1; [ "$run" = mnist-adversarial-0.3 ] && eps=0.3 # what it is trained for
        gambeson check $(model "$run") --norm linf --eps $eps --every 50 --transfer "$transfer" ||
          [ $? = 1 ] ;; # a verdict that is bad is a result too
      nearest) # smallest perturbations tell the accuracy in l2 at every eps
        for attack in deepfool ddn fmn high_confidence "boundary --set queries=3000" \
          "carlini_wagner_l2 --steps 200 --set searches=5"; do
          gambeson attack $(model "$run") --attack $attack --norm l2 --every 50 --keep 8
        done
        gambeson attack $(model "$run") --attack carlini_wagner_linf --steps 100 --set initial=0.01 --every 50 --keep 8 ;;
      smoothed)
        case $run in *-0.25 | *-0.50 | *-1.00) ;; *) continue ;; esac
        gambeson attack $(model "$run") --noise "gaussian:${run##*-}" --norm l2 --eps 1 --every 200 --attack-draws 4 \
          --preset strong --share "$share" --transfer "$transfer" --keep 8 ;;
      objectives) # m draws, the same or new ones; the log of the mean and the mean of the log; Stein's estimator; DDN
        [ "$run" = mnist-noisy-0.50 ] || continue
        for draws in 1 4 16 64; do
          for way in "" "--redraw" "--order mean_of_log" "--gradient stein"; do
            [ "$way $draws" = "--gradient stein 1" ] && continue # it needs two draws
            gambeson attack $(model $run) --noise gaussian:0.5 --norm l2 --eps 1.5 --every 200 --attack-draws $draws $way --keep 0
          done
        done
        for way in "" "--redraw" "--order mean_of_log"; do
          gambeson attack $(model $run) --noise gaussian:0.5 --attack ddn --every 200 --attack-draws 16 $way --keep 0
        done ;;
      report) ;; # once, of all models: below
      *) echo "run.sh: $what is none of linf, checks, nearest, smoothed, objectives, report" >&2; exit 2 ;;
    esac
  done
  [ "$what" != report ] || { gambeson report mnist-plain mnist-noisy-* mnist-stability-* mnist-adversarial-* --out report && python ../fill.py; }
done
