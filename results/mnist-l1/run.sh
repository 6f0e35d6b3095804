#!/usr/bin/env bash
# LeNet on MNIST under the three l1 noises of the same standard deviation (uniform and splitting: half-width 1; Laplace:
# scale 0.41), trained for 20 epochs and certified on every 20th test image (500). Every command resumes: run it again after a stop.
set -euo pipefail
cd "$(dirname "$0")"

for noise in splitting:1 uniform:1 laplace:0.41; do
  name=${noise%:*}
  [ -f "$name/header.json" ] || gambeson train mnist-noisy-splitting-1.00 --out "$name" \
    --set train.epochs=20 --set "method.noise=$name" --set "method.sigma=${noise#*:}"
  radii=(--radii 0,0.25,0.5,0.75,0.9)
  [ "$name" = splitting ] && radii=()  # its radii are exact
  gambeson certify "$name" --noise "$noise" --every 20 "${radii[@]}"
done
gambeson report splitting uniform laplace --out report && python ../fill.py
