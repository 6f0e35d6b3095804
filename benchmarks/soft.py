"""Votes against mean scores: what soft smoothing certifies, and what each bound loses, on the same draws.

    python benchmarks/soft.py results/mnist-lenet/mnist-noisy-0.50 ... --every 100 --draws 10000 --out results/soft

Every run is certified under the noise that it was trained with, soft (`gambeson certify --smoothing soft`); its records
hold the scores of the selected class and, from the same draws, the votes. From these, four procedures, each at alpha:

    vote, Clopper-Pearson      what `gambeson certify` does
    vote, betting              the betting bound on 0/1 scores: what it loses where an exact bound is known
    soft, betting              what `--smoothing soft` does
    soft, empirical Bernstein  the simple bound in its place

"Rounding" is what counting scores in bins can have cost: the mean radius if every score were as large as its bin allows
(no certificate), less the mean radius of soft, betting. All radii are `gaussian_l2` on the pixel lattice.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _written import markdown, origin
from numpy.typing import NDArray

from gambeson.allocator import keep_freed_memory
from gambeson.certificates import gaussian_l2
from gambeson.data import load
from gambeson.evaluation import certified
from gambeson.inference import Form
from gambeson.jsonl import as_line
from gambeson.models import load as load_model
from gambeson.records import Run
from gambeson.reports.numbers import down
from gambeson.smoothed.kept import trained_noise
from gambeson.stats import betting, empirical_bernstein, lower, score_bins

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
Line = dict[str, Any]
Floats = NDArray[np.float64]


def records_of(run: Run, every: int, draws: int, batch: int) -> tuple[Line, list[Line]]:
    """Settings, and one soft record per image."""
    data = load(run.header["dataset"], "test").every(every)
    form = Form("bfloat16", "channels_last", batch, torch.get_num_threads(), "cpu")
    model = load_model(run.path / "model.safetensors")
    evaluation = certified(model, data, noise=trained_noise(run), smoothing="soft", draws=draws, form=form)
    return evaluation.settings, list(evaluation)


def bounds(record: Line, draws: int, alpha: float) -> dict[str, float]:
    """p_lower of each procedure, and what rounding can have hidden."""
    hits, scores = record["counts"][record["selected"]], record["scores"]
    least = score_bins.least_scores()
    return {
        "vote, Clopper-Pearson": float(lower(hits, draws, alpha)),
        "vote, betting": betting.lower([0.0, 1.0], [draws - hits, hits], alpha),
        "soft, betting": betting.lower(least, scores, alpha),
        "soft, empirical Bernstein": empirical_bernstein(least, scores, alpha),
        "rounding": betting.lower(score_bins.largest_scores(), scores, alpha),
    }


def measure(name: str, settings: Line, records: list[Line]) -> list[Line]:
    draws, alpha, tau = settings["draws"], settings["alpha"], settings["tau"]
    sigma = float(settings["noise"].partition(":")[2])
    found = [bounds(record, draws, alpha) for record in records]
    right = np.array([record["selected"] == record["label"] for record in records])
    radius = {
        kind: np.asarray(gaussian_l2(np.maximum([one[kind] - tau for one in found], 0), None, sigma)) * right
        for kind in found[0]
    }
    rounding = float((radius.pop("rounding") - radius["soft, betting"]).mean())
    accuracy = partial(_accuracy, radius)
    return [
        {
            "run": name,
            "procedure": kind,
            "noise": settings["noise"],
            "images": len(records),
            "draws": draws,
            "alpha": alpha,
            "p_lower_mean": round(float(np.mean([one[kind] for one in found])), 5),
            "average_radius": float(radii.mean()),
            "rounding": round(rounding, 5) if kind == "soft, betting" else None,
            "certified": {f"{least:g}": accuracy(kind, least) for least in RADII},
        }
        for kind, radii in radius.items()
    ]


def _accuracy(radius: dict[str, Floats], kind: str, least: float) -> float:
    reached = radius[kind] > 0 if least == 0 else radius[kind] >= least
    return round(float(reached.mean()), 4)


def table(rows: list[Line]) -> str:
    grid = (f"{radius:g}" for radius in RADII)
    lines = [["run", "classifier, bound", *grid, "average radius", "rounding costs at most"]]
    for row in rows:
        cells = [row["run"], row["procedure"], *(f"{value:.2f}" for value in row["certified"].values())]
        cells += [down(row["average_radius"]), "" if row["rounding"] is None else f"{row['rounding']:.4f}"]
        lines.append(cells)
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    keep_freed_memory()
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in chosen.runs:
        run = Run.open(path)
        settings, records = records_of(run, chosen.every, chosen.draws, chosen.batch)
        (chosen.out / f"{run.name}.jsonl").write_text("".join(map(as_line, records)))
        rows += measure(run.name, settings, records)
        print(table(rows[-4:]), flush=True)
    result = {**origin(), "form": settings["form"], "rows": rows}
    (chosen.out / "soft.json").write_text(json.dumps(result, indent=1) + "\n")
    (chosen.out / "soft.md").write_text(table(rows))


if __name__ == "__main__":
    main()
