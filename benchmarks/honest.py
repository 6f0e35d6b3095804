"""What honest nets show of the signs that checks count: the shares that `gambeson.checks.thresholds` allows.

    python benchmarks/honest.py --seeds 10 --out results/checks

Nets for the embedded digits, by ordinary, noisy and adversarial training, from so many seeds each (none of them the
tests'), are diagnosed with the budgets of `gambeson check` in two balls. For each sign: how many of all images show it,
the most that do of any net, and what is allowed.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from _written import markdown, origin

from gambeson import data, recipe
from gambeson.build import train_recipe
from gambeson.checks.diagnosed import SIGNS
from gambeson.checks.thresholds import ALLOWED, limit
from gambeson.evaluation import diagnosed
from gambeson.evaluation.probes import Budget

BALLS = (("linf", 0.1), ("l2", 1.0))
METHODS = ("plain", "noisy", "adversarial")


def shown(method: str, seed: int, images: int, norm: str, eps: float, budget: Budget) -> dict[str, Any]:
    chosen = recipe.load(f"digits-{method}", [f"seed={seed}", "train.ratio_steps=0"])
    model = train_recipe(chosen, run=None).model.eval()
    part = data.load("digits", "test").every(1, images)
    evaluation = diagnosed(model, part, norm=norm, eps=eps, budget=budget)  # type: ignore[arg-type]
    records, counts = [{**EMPTY, **record} for record in evaluation], Counter[str]()
    for name, sign in SIGNS.items():
        counts[name] = sum(bool(sign.shows(record, evaluation.settings)) for record in records)
    robust = sum(record["after_restarts"] is None and record["after_steps"] is None for record in records)
    return {"method": method, "seed": seed, "norm": norm, "eps": eps, "images": len(records), "robust": robust,
            "counts": dict(counts)}  # fmt: skip


EMPTY = dict.fromkeys(("one_step", "by_eps", "silent", "incomplete", "unlimited"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    found = []
    for seed in range(1, chosen.seeds + 1):
        for method in METHODS:
            for norm, eps in BALLS:
                found.append(shown(method, seed, chosen.images, norm, eps, Budget()))
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    total = sum(one["images"] for one in found)
    lines: list[tuple[Any, ...]] = [("sign", "images that show it", "of any net, at most", "allowed", "doubted from")]
    for name in SIGNS:
        every, most = sum(one["counts"][name] for one in found), max(one["counts"][name] for one in found)
        lines.append((name, f"{every} of {total:,} ({every / total:.2%})", f"{most} of {chosen.images}",
                      f"{ALLOWED[name]:.1%}", limit(name, chosen.images) + 1))  # fmt: skip
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "honest.json").write_text(json.dumps({**origin(), "nets": found}) + "\n")
    (chosen.out / "honest.md").write_text(markdown(lines))
    print(markdown(lines))


if __name__ == "__main__":
    main()
