"""Run folders made up from the schema, through the writer that real runs use; no model, no torch."""

import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from gambeson.certificates import CERTIFICATES, applicable, max_radius
from gambeson.jsonl import write_json
from gambeson.records import Run
from gambeson.stats import lower, top_and_rest

FORM = {"dtype": "float32", "memory": "contiguous", "batch": 100, "threads": 1, "device": "cpu"}
CREATED = "2026-01-01T00:00:00Z"
CLASSES = 4


def images(examples, shape=(1, 8, 8), seed=0):
    """Index, hash, label and pixels of made-up images; another seed gives other content at the same indices."""
    generator = np.random.default_rng(seed)
    x = (generator.integers(0, 17, (200, *shape)) / 16)[:examples]
    hashes = [hashlib.sha256(tile.tobytes()).hexdigest()[:16] for tile in x]
    return np.arange(examples) * 20, hashes, generator.integers(0, CLASSES, 200)[:examples], x


def fake_run(
    path,
    *,
    method="stability",
    noises=("gaussian:0.5",),
    quality=2.2,
    examples=40,
    dataset="mnist",
    image_seed=0,
    seed=0,
    draws=1000,
    alpha=0.001,
    attacks=(),
    planned=None,
    cost=True,
    checks=(),
):
    """A run whose images have margins around `quality`; `attacks` are (norm, target) pairs, with galleries."""
    generator = np.random.default_rng([seed, 77])
    index, hashes, labels, x = images(examples, seed=image_seed)
    run = Run.create(Path(path), _header(Path(path).name, method, dataset))
    data = {"dataset": dataset, "split": "test", "rule": "every 20th test image", "levels": 16, "fingerprint": "f"}
    margin = generator.normal(quality, 1.0, examples)
    other = (labels + 1) % CLASSES
    right = margin > 0
    top = np.where(right, labels, other)
    plan = planned or examples
    with run.writing() as writer:
        clean = writer.evaluation("clean", {"batch": 100}, data, plan, "gambeson attack RUN --clean", CREATED)
        for i in range(examples):
            ok = margin[i] > -1
            clean.append(
                _common(index, hashes, labels, i)
                | {"predict": int(labels[i] if ok else other[i]), "correct": bool(ok), "confidence": 0.9}
            )
        for noise in noises:
            kind, scale = noise.split(":")
            names = [row.name for row in applicable(kind)]
            largest = {name: max_radius(name, draws, alpha, float(scale)) for name in names}
            settings = {
                "noise": noise,
                "select_draws": 100,
                "draws": draws,
                "alpha": alpha,
                "budget": "fixed",
                "seed": seed,
            }
            settings |= {
                "block": 100,
                "form": FORM,
                "tau": 1e-9,
                "max_radius": largest,
                "rounding_distance": {"l2": 0.25, "l1": 4.0},
            }
            certified = writer.evaluation(
                "certified", settings, data, plan, f"gambeson certify RUN --noise {noise}", CREATED
            )
            for i in range(examples):
                row = _certified(
                    generator, names, float(scale), draws, alpha, abs(margin[i]) * 0.6, int(top[i]), int(labels[i])
                )
                certified.append(_common(index, hashes, labels, i) | row)
        for norm, target in attacks:
            for eps in (0.25, 0.5, 1.0) if norm == "l2" else (0.05, 0.1):
                settings = attack_settings(norm, target, eps, noises[0])
                attacked = writer.evaluation(
                    "attacked", settings, data, plan, f"gambeson attack RUN --norm {norm}", CREATED
                )
                reach = eps * (2.5 if norm == "l2" else 20)
                for i in range(examples):
                    attacked.append(
                        _common(index, hashes, labels, i)
                        | _attacked(margin[i], reach, eps, target, labels[i], other[i])
                    )
                delta = np.sign(generator.normal(size=x.shape)) * 0.03
                tensors = {
                    "x": x[:8].astype("f4"),
                    "x_adv": np.clip(x + delta, 0, 1)[:8].astype("f4"),
                    "indices": index[:8],
                }
                (run.path / "adversarial").mkdir(exist_ok=True)
                save_file(tensors, run.path / "adversarial" / f"{attacked.id}.safetensors")
    if cost:
        write_json(run.path / "cost.json", COST)
    if checks:
        run.save_checks(list(checks))
    return run.path


COST = {
    "train_seconds": 61.04, "forward_passes": 120000, "backward_passes": 60000, "double_backward_passes": 0,
    "examples_forward": 7680000, "peak_memory_bytes": 700_000_000, "ratio_to_plain": 1.93, "ratio_steps": 50,
}  # fmt: skip


def attack_settings(norm, target, eps, noise):
    smoothed = target == "smoothed"
    return {
        "attack": "pgd", "target": target, "norm": norm, "eps": eps, "steps": 20, "step_size": eps / 10,
        "step_rule": "sign" if norm == "linf" else "normalised", "loss": "cross_entropy", "restarts": 1,
        "random_start": True, "early_stop": True,
        "step_rule_settings": {}, "targets_hash": None, "batch": 50, "projection": "exact ball ∩ box",
        "box": [0, 1], "targeted": None,
        "noise": noise if smoothed else None, "attack_draws": 16 if smoothed else None,
        "redraw": False if smoothed else None,
        "predict_draws": 1000 if smoothed else None, "predict_alpha": 0.001 if smoothed else None, "seed": 0,
        "form": FORM if smoothed else None,
    }  # fmt: skip


def _header(name, method, dataset):
    return {
        "name": name, "method": method, "method_settings": {"sigma": 0.5}, "dataset": dataset, "model": "lenet",
        "classes": [str(c) for c in range(CLASSES)], "shape": [1, 8, 8], "levels": 16, "seed": 0,
        "model_hash": "m" * 64, "data_hash": "d" * 64, "versions": {"gambeson": "0.1.0", "torch": "2.13.0"},
        "device": "cpu", "threads": 1,
    }  # fmt: skip


def _common(index, hashes, labels, i):
    return {"index": int(index[i]), "hash": hashes[i], "label": int(labels[i]), "seconds": 0.25}


def _certified(generator, names, scale, draws, alpha, margin, top, label):
    from scipy.stats import norm

    hits = int(generator.binomial(draws, norm.cdf(margin / (0.5 + scale))))
    counts = [0] * CLASSES
    counts[top] = hits
    counts[(top + 1) % CLASSES] = draws - hits
    p = float(lower(hits, draws, alpha))
    low, high = (float(bound) for bound in top_and_rest(counts, top, alpha))
    radii = {}
    for name in names:
        radii[name] = max(0.0, float(CERTIFICATES[name].radius(p, None, scale)))
        radii[f"{name}_two_sided"] = max(0.0, float(CERTIFICATES[name].radius(low, high, scale)))
    abstains = p <= 0.5
    return {
        "predict": -1 if abstains else top, "correct": not abstains and top == label,
        "reason": "p_lower <= 1/2" if abstains else None, "selected": top, "select_counts": counts, "counts": counts,
        "nonfinite": 0, "p_lower": p, "p_lower_two_sided": low, "p_upper_two_sided": high, "radii": radii,
        "radii_real": {name: max(0.0, radius - 0.05) for name, radius in radii.items()},
    }  # fmt: skip


def _attacked(margin, reach, eps, target, label, other):
    before = margin > (0 if target == "smoothed" else -1)
    holds = before and margin > reach
    abstains = target == "smoothed" and abs(margin - reach) < 0.2
    predict = -1 if abstains else int(label if holds else other)
    return {
        "predict_clean": int(label if before else other), "predict": predict, "correct": predict == label,
        "success": predict != label, "loss": 1.0, "distance": 0.999 * eps, "target": None,
        "distances": dict.fromkeys(("linf", "l2", "l1"), 0.999 * eps),
    }  # fmt: skip


def write_log(path, rows):
    """A log in the field's format: rows of (idx, label, predict, radius, correct)."""
    lines = ["idx\tlabel\tpredict\tradius\tcorrect\ttime"]
    lines += ["\t".join(map(str, row)) + "\t0:00:01.500000" for row in rows]
    Path(path).write_text("\n".join(lines) + "\n")
    return Path(path)
