"""What honest nets show of the signs that checks count: the shares that `gambeson.checks.thresholds` allows.

    python benchmarks/honest.py results/mnist-attacks/mnist-* --seeds 10 --out results/checks

Nets for the embedded digits, by ordinary, noisy and adversarial training, from so many seeds each (none of them the
tests'), are diagnosed with the budgets of `gambeson check` in two balls, the noisy ones as smoothed classifiers too, on
images that they were validated on (not the tests'). Of RUN folders, every diagnosis that is finished counts. For each
sign: how many of the images that could show it do, the largest share of any net, and what is allowed. Nets that
OUT/honest.json has are not trained again: run it again after a stop, or with more seeds.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from _written import markdown, origin

from gambeson import data, recipe
from gambeson.build import train_recipe
from gambeson.checks.diagnosed import SIGNS
from gambeson.checks.thresholds import ALLOWED, IMAGES, limit
from gambeson.evaluation import diagnosed
from gambeson.evaluation.probes import Budget
from gambeson.jsonl import write_json
from gambeson.records import Run
from gambeson.schema import check_record

BALLS = (("linf", 0.1), ("l2", 1.0))
METHODS = ("plain", "noisy", "adversarial")
DIGITS = tuple(f"digits-{method}" for method in METHODS)
NOISE = "gaussian:0.25"  # what the noisy recipe trains with
VALIDATION = 250


def trained(method: str, seed: int) -> Iterator[dict[str, Any]]:
    """What one net for the digits shows, in both balls, and smoothed."""
    chosen = recipe.load(f"digits-{method}", [f"seed={seed}", "train.ratio_steps=0", f"data.validation={VALIDATION}"])
    model = train_recipe(chosen, run=None).model.eval()
    part = data.load("digits", "validation", validation=VALIDATION, seed=seed)
    for norm, eps in BALLS:
        for noise in (None, NOISE) if method == "noisy" and norm == "l2" else (None,):
            found = diagnosed(model, part, norm=norm, eps=eps, noise=noise, budget=Budget())  # type: ignore[arg-type]
            records = [check_record("diagnosed", {"evaluation": "x", **record}) for record in found]
            yield {"net": f"digits-{method}", "seed": seed, **counts(records, found.settings)}


def recorded(path: str) -> Iterator[dict[str, Any]]:
    """What a run's finished diagnoses show."""
    run = Run.open(path)
    for evaluation in run.evaluations("diagnosed"):
        records = run.records(evaluation["id"])
        if len(records) == evaluation["examples"] >= IMAGES:
            yield {"net": run.name, "seed": run.header["seed"], **counts(records, evaluation["settings"])}


def counts(records: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Of each sign: (images that show it, images that could), where it can be told."""
    found = {}
    for name, sign in SIGNS.items():
        shown = [sign.shows(record, settings) for record in records if sign.able(record)]
        told = [bool(each) for each in shown if each is not None]
        if told:
            found[name] = (sum(told), len(told))
    about = {name: settings[name] for name in ("norm", "eps", "noise")}
    return {**about, "images": len(records), "counts": found}


def table(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    lines: list[tuple[Any, ...]] = [
        ("sign", "nets", "images that show it", "largest share of a net", "allowed", "doubted from, of 200")
    ]
    for name in SIGNS:
        each = [one["counts"][name] for one in found if name in one["counts"]]
        if not each:
            continue
        bad, able = (sum(column) for column in zip(*each, strict=True))
        largest = max(each, key=lambda pair: pair[0] / pair[1])
        share = ALLOWED[name]
        lines.append((name, len(each), f"{bad} of {able:,} ({bad / able:.2%})",
                      f"{largest[0]} of {largest[1]} ({largest[0] / largest[1]:.2%})", f"{share:.1%}",
                      limit(name, 200) + 1))  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "honest.json"
    before = json.loads(path.read_text())["nets"] if path.exists() else []
    found = [one for one in before if one["net"] in DIGITS]
    for seed, method in product(range(1, chosen.seeds + 1), METHODS):
        if not any((one["net"], one["seed"]) == (f"digits-{method}", seed) for one in found):
            shown = list(trained(method, seed))
            found += shown
            print(*map(json.dumps, shown), sep="\n", file=sys.stderr, flush=True)
            write_json(path, {**origin(), "nets": found})
    found += [one for run in chosen.runs for one in recorded(run)]
    write_json(path, {**origin(), "nets": found})
    (chosen.out / "honest.md").write_text(markdown(table(found)))
    print(markdown(table(found)))


if __name__ == "__main__":
    main()
