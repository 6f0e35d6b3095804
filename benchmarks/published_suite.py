"""AutoAttack as its authors published it against `--preset standard`, image by image.

    python benchmarks/published_suite.py results/mnist-lenet/mnist-plain:linf:0.1 --out results/mnist-attacks

Needs the package `autoattack` (github.com/fra31/auto-attack). Both attack the same images of the same model; what each
returns is judged anew, in float32. Tasks that OUT/autoattack.json has are not run again.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from _written import markdown, origin

from gambeson import data
from gambeson.evaluation import attacked
from gambeson.jsonl import write_json
from gambeson.models import load
from gambeson.records import Run

NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def compare(path: str, norm: str, eps: float, every: int, batch: int) -> dict[str, Any]:
    from autoattack import AutoAttack

    run = Run.open(path)
    part = data.load(run.header["dataset"], "test").every(every, None)
    model = load(run.path / "model.safetensors")
    x, y = part.pixels(), part.labels
    start = perf_counter()
    theirs_adv = AutoAttack(model, norm=NAMES[norm], eps=eps, version="standard", device="cpu", verbose=False, seed=0)
    found = theirs_adv.run_standard_evaluation(x, y, bs=batch)
    theirs_seconds, start = perf_counter() - start, perf_counter()
    with torch.no_grad():
        theirs = (model(found).argmax(1) == y).tolist()
    records = list(attacked(model, part, attack="standard", norm=norm, eps=eps, batch=batch))  # type: ignore[arg-type]
    ours_seconds = perf_counter() - start
    images = [
        {"index": record["index"], "theirs": robust, "ours": record["correct"], "broken_by": record["broken_by"]}
        for record, robust in zip(records, theirs, strict=True)
    ]
    differ = sum(image["theirs"] != image["ours"] for image in images)
    return {
        "run": run.path.name, "norm": norm, "eps": eps, "images": images, "differ": differ,
        "theirs": sum(theirs) / len(theirs), "ours": sum(image["ours"] for image in images) / len(images),
        "seconds": {"theirs": round(theirs_seconds, 1), "ours": round(ours_seconds, 1)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", metavar="RUN:NORM:EPS")
    parser.add_argument("--every", type=int, default=50, help="every k-th test image")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    path = chosen.out / "autoattack.json"
    results = json.loads(path.read_text())["results"] if path.exists() else []
    chosen.out.mkdir(parents=True, exist_ok=True)
    for text in chosen.tasks:
        run, norm, eps = text.rsplit(":", 2)
        if not any((one["run"], one["norm"], one["eps"]) == (Path(run).name, norm, float(eps)) for one in results):
            results.append(compare(run, norm, float(eps), chosen.every, chosen.batch))
            write_json(path, {**origin(), "results": results})
    (chosen.out / "autoattack.md").write_text(markdown(table(results)))
    print(markdown(table(results)))


def table(results: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    lines: list[tuple[Any, ...]] = [
        ("run", "norm", "eps", "images", "robust, AutoAttack", "robust, standard", "images that differ", "s", "s, ours")
    ]
    for one in results:
        spent = one["seconds"]
        lines.append((one["run"], one["norm"], f"{one['eps']:.4g}", len(one["images"]), f"{one['theirs']:.3f}",
                      f"{one['ours']:.3f}", one["differ"], spent["theirs"], spent["ours"]))  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
