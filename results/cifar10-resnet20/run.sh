#!/usr/bin/env bash
# ResNet-20 on CIFAR-10, trained under noise on a CPU with bf16 (cost.json: what it took; metrics.jsonl: every epoch).
# Training resumes: run the script again after a stop. It is certified in results/certify/resnet20.
set -euo pipefail
cd "$(dirname "$0")"

[ -f noisy-0.50/header.json ] || gambeson train cifar10-noisy-resnet20-0.50 --out noisy-0.50 \
  --set train.precision=bf16-mixed --set train.epochs=50 --set train.ratio_steps=0 --set schedule.lr=one_cycle \
  --set schedule.warmup=0.2 --set 'schedule.milestones=[]' --set optimizer.lr=0.2 --set optimizer.nesterov=true
