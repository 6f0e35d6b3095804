"""Certifying a test set: Gambeson, the published procedure and adversarial-robustness-toolbox, side by side.

    gambeson train mnist-noisy-smallcnn-0.50 --out mnist-smallcnn
    python benchmarks/certify.py mnist-smallcnn --data mnist --radii 0,0.25,0.5,0.75,1,1.25,1.5,1.75 --out OUT

One model, one alpha, one grid of radii. Every side runs in a process of its own, and they take turns for some rounds.
The peers (`_peers.py`) are timed an image at a time at the best of the batch sizes that are customary, and at the best
of smaller ones too; start-up left out, on a few images, and extrapolated to all: every image costs them the same.
Gambeson is what a user types, `gambeson certify`, on all images, from the start of its process to the end.

Between the published procedure and Gambeson stand its steps: runs of a few images with a fixed budget. The last of them
have the form that the grid found. The grid of radii comes last. Their ratios multiply to the whole.

The peers would need hours for a table of all images. `_fixed.py` finds the table that the published procedure gives in
float32, on noise of another seed ("table"). On the images that the peers did do, the two are compared ("agreement").
What the grid itself loses is seen beside a fixed budget in its own form, of which its draws are the first ("same
draws").
Finished sides are kept in certify.json: a benchmark that was stopped goes on with the next. Run folders stay in
OUT/runs.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from _tables import LABELS, summary, write_tables
from _timed import timed

from gambeson.records import Run

HERE = Path(__file__).parent
ALPHA, SELECT = 0.001, 100
SEED, OTHER_SEED = 0, 1  # of `gambeson certify` where nothing is said, and another
CUSTOMARY, SMALLER = (400, 1_000, 4_000), (32, 100)  # batch sizes of the peers; 32 is what art takes by itself
FIXED = ["--budget", "fixed"]
# What is added to `gambeson certify`; "processes" have the batch and torch.compile of the form that the grid found too.
STEPS = {
    "loop": "--dtype float32 --memory contiguous --batch {batch} --threads {threads} --no-compile --workers 1",
    "form": "--dtype float32 --threads {threads} --no-compile --workers 1",
    "bf16": "--dtype bfloat16 --threads {threads} --no-compile --workers 1",
    "processes": "--dtype bfloat16 --threads 1 --workers {processes}",
    "processes float32": "--dtype float32 --threads 1 --workers {processes}",
}
Side = dict[str, Any]


def gambeson(chosen: argparse.Namespace, folder: Path, form: list[str], budget: list[str]) -> Side:
    """`gambeson certify` as a user types it, into a run folder of its own."""
    settings = ["--noise", f"gaussian:{chosen.sigma}", "--draws", str(chosen.draws), "--select-draws", str(SELECT)]
    settings += ["--alpha", str(ALPHA), "--every", str(chosen.every), "--device", chosen.device]
    command = ["-m", "gambeson", "certify", str(chosen.model), "--data", chosen.data, "--out", str(folder)]
    done = timed([sys.executable, *command, *settings, *form, *budget])
    run = Run.open(folder)
    evaluation = run.evaluations("certified")[-1]
    records = run.records(evaluation["id"])
    return {
        "seconds": done.seconds,
        "peak_megabytes": done.peak_megabytes,
        "workers": int(form[form.index("--workers") + 1]),
        "form": evaluation["settings"]["form"],
        "budget": evaluation["settings"]["budget"],
        "machine": evaluation["machine"],
        "images": [image(record, chosen.draws) for record in records],
    }


def found_form(side: Side) -> list[str]:
    """The form that a side found by its trial, as options."""
    form = side["form"]
    return [
        "--memory",
        form["memory"],
        "--batch",
        str(form["batch"]),
        "--" + "no-" * (not form["compiled"]) + "compile",
    ]


def image(record: dict[str, Any], draws: int) -> dict[str, Any]:
    kept = {name: record[name] for name in ("index", "label", "predict", "selected", "seconds")}
    hits = record["counts"][record["selected"]]
    made = SELECT + (record["draws"] if record.get("radius_kind") == "grid" else draws)
    return kept | {"radius": record["radii"]["gaussian_l2"], "hits": hits, "draws": made}


def peer(chosen: argparse.Namespace, side: str, rows: tuple[int, int], draws: int, **more: Any) -> Side:
    ask = {"side": side, "model": str(chosen.model), "data": chosen.data, "every": chosen.every, "rows": rows}
    ask |= {"sigma": chosen.sigma, "alpha": ALPHA, "draws": draws, "select_draws": SELECT}
    ask |= {"threads": chosen.threads, "device": chosen.device, **more}
    done = timed([sys.executable, str(HERE / "_peers.py"), json.dumps(ask)])
    return {"peak_megabytes": done.peak_megabytes, **more, **json.loads(done.output)}


def table(chosen: argparse.Namespace, form: dict[str, Any], seed: int) -> Side:
    """What a fixed budget gives on all images; not timed, and goes on where it was stopped."""
    ask = {"model": str(chosen.model), "data": chosen.data, "every": chosen.every, "limit": chosen.limit, "form": form}
    ask |= {"sigma": chosen.sigma, "alpha": ALPHA, "draws": chosen.draws, "select_draws": SELECT, "seed": seed}
    ask |= {"radii": chosen.radii, "processes": chosen.processes, "kept": str(chosen.out / "runs")}
    found: Side = json.loads(timed([sys.executable, str(HERE / "_fixed.py"), json.dumps(ask)]).output)
    return found


def trial(chosen: argparse.Namespace, side: str) -> Side:
    """Draws a second at each batch size, on one image and few draws."""
    draws, rates = min(chosen.draws, 5 * max(CUSTOMARY)), {}
    for batch in (*SMALLER, *CUSTOMARY):
        found = peer(chosen, side, (0, 1), draws, batch_size=batch)
        rates[batch] = (draws + SELECT) / found["images"][0]["seconds"]
    best, small = (max(sizes, key=lambda size: rates[size]) for sizes in (CUSTOMARY, (*SMALLER, *CUSTOMARY)))
    return {"rates": rates, "batch_size": best, "small": small}


def sides(chosen: argparse.Namespace, kept: dict[str, Side]) -> dict[str, Callable[[], Side]]:
    """Everything that is measured, in order; what needs another side's outcome finds it in `kept`."""
    steps = [step for step in STEPS if chosen.processes > 1 or not step.startswith("processes")]
    grids = ("processes", "processes float32") if chosen.processes > 1 else ("bf16", "form")
    peers = [name for name in LABELS if name != "art" or find_spec("art")]
    each = ceil(chosen.peer_images / chosen.rounds)
    few, radii = [*FIXED, "--limit", str(chosen.step_images)], ["--radii", chosen.radii, "--limit"]
    budgets = {"grid": [*radii, str(chosen.limit)], "grid float32": [*radii, str(chosen.float32_images)]}

    def at_best_batch(name: str, which: str, rows: tuple[int, int]) -> Side:
        return peer(chosen, name, rows, chosen.draws, batch_size=kept[f"{name} trial"][which])

    def small(name: str, turn: int, rows: tuple[int, int]) -> Side:
        tried = kept[f"{name} trial"]
        return kept[f"{name} {turn}"] if tried["small"] == tried["batch_size"] else at_best_batch(name, "small", rows)

    def ours(name: str, step: str, budget: list[str], like: str | None = None) -> Side:
        batch = kept["published trial"]["batch_size"]
        form = STEPS[step].format(threads=chosen.threads, processes=chosen.processes, batch=batch).split()
        folder = chosen.out / "runs" / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)  # of a benchmark that was stopped: a time must be of the whole
        return gambeson(chosen, folder, form + (found_form(kept[like]) if like else []), budget)

    found: dict[str, Callable[[], Side]] = {f"{name} trial": partial(trial, chosen, name) for name in peers}
    for turn in range(chosen.rounds):
        rows = (turn * each, (turn + 1) * each)
        for name in peers:
            found[f"{name} {turn}"] = partial(at_best_batch, name, "batch_size", rows)
            found[f"{name} small {turn}"] = partial(small, name, turn, rows)
        like = dict(zip(grids, ("grid", "grid float32"), strict=True))
        found |= {
            f"{like[step]} {turn}": partial(ours, f"{like[step]} {turn}", step, budgets[like[step]]) for step in grids
        }
        for step in steps:
            same = f"{like[step]} {turn}" if step in like else None
            found[f"{step} {turn}"] = partial(ours, f"{step} {turn}", step, few, same)
    found["forward"] = lambda: peer(chosen, "forward", (0, 1), 0, form=kept["bf16 0"]["form"], seconds=chosen.seconds)
    found["table"] = lambda: table(chosen, kept["grid float32 0"]["form"], OTHER_SEED)
    found["same draws"] = lambda: table(chosen, kept["grid 0"]["form"], SEED)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a run folder or a weights file that Gambeson wrote")
    parser.add_argument("--data", required=True)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--radii", required=True, help="0,0.25,...")
    parser.add_argument("--every", type=int, default=20, help="every k-th test image")
    parser.add_argument("--limit", type=int, default=500, help="at most so many images")
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--peer-images", type=int, default=10, help="that the peers are timed on, in all rounds")
    parser.add_argument("--step-images", type=int, default=4, help="that the steps are timed on, in each round")
    parser.add_argument("--float32-images", type=int, help="that the grid in float32 is timed on (default: --limit)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--processes", type=int, help="default: as threads; 1 with a GPU")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement of the forward rate")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.float32_images = chosen.float32_images or chosen.limit
    for name in ("peer_images", "step_images", "float32_images"):
        if (value := getattr(chosen, name)) > chosen.limit:
            parser.error(f"--{name.replace('_', '-')} is {value}; it must be at most --limit, {chosen.limit}")
    chosen.model = chosen.model / "model.safetensors" if chosen.model.is_dir() else chosen.model
    chosen.processes = chosen.processes or (chosen.threads if chosen.device == "cpu" else 1)
    return chosen


def main() -> None:
    chosen = arguments()
    state = chosen.out / "certify.json"
    settings = {name: value for name, value in vars(chosen).items() if name not in ("out", "model")}
    settings |= {"model": chosen.model.parent.name, "alpha": ALPHA, "select_draws": SELECT, "steps": STEPS}
    packages = ("gambeson", "torch", "numpy", "scipy", "statsmodels", "adversarial-robustness-toolbox")
    result: dict[str, Any] = {
        "command": "python benchmarks/certify.py " + shlex.join(sys.argv[1:]),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()}
        | {name: version(name) for name in packages if name != packages[-1] or find_spec("art")},
        "settings": settings,
        "sides": {},
    }
    if state.exists():
        before = json.loads(state.read_text())
        if before["settings"] != json.loads(json.dumps(settings)):
            sys.exit(f"{state} was begun with other settings: choose another --out, or delete it")
        result["sides"] = before["sides"]
    chosen.out.mkdir(parents=True, exist_ok=True)
    if not find_spec("art"):
        print("adversarial-robustness-toolbox is not installed: without it", file=sys.stderr)
    for name, measure in sides(chosen, result["sides"]).items():
        if name not in result["sides"]:
            print(f"{name} ...", file=sys.stderr, flush=True)
            result["sides"][name] = measure()
            state.write_text(json.dumps(result) + "\n")
    result["summary"] = summary(result["sides"], settings)
    state.write_text(json.dumps(result) + "\n")
    print(json.dumps(result["summary"], indent=1))
    write_tables(result["summary"], chosen.out)


if __name__ == "__main__":
    main()
