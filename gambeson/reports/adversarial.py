"""What attacks found, for others: the images as tensors, the accuracy as a leaderboard wants it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from gambeson import kept
from gambeson.jsonl import write_json
from gambeson.records import Run

Row = dict[str, Any]


def tensors(run: Run, out: Path) -> list[Path]:
    """Per attack, the images that were kept: x, x_adv (N, C, H, W) float32 in [0, 1], y, predict, success, indices
    (N,), and the settings as metadata; a safetensors file, in the order of the indices.
    """
    written = []
    for evaluation in run.evaluations("attacked"):
        path = kept.path_of(run.path, evaluation["id"])
        if not path.exists():
            continue
        found, records = kept.read(path), {record["index"]: record for record in run.records(evaluation["id"])}
        rows = [row for row, index in enumerate(found["indices"].tolist()) if index in records]
        if not rows:
            continue
        known = [records[index] for index in found["indices"][rows].tolist()]
        content = {name: np.ascontiguousarray(found[name][rows]) for name in ("x", "x_adv", "indices")}
        content |= {name: np.array([record[of] for record in known]) for name, of in _COLUMNS.items()}
        target = out / f"{run.name}-{evaluation['id']}.safetensors"
        save_file(content, target, {"settings": json.dumps(evaluation["settings"]), "run": run.name})
        written.append(target)
    return written


_COLUMNS = {"y": "label", "predict": "predict", "success": "success"}


def robustbench(run: Run, out: Path) -> list[Path]:
    """Per evaluation by the published protocol (`--preset standard`, all four attacks in full) of the base model, the
    fields of the leaderboard's model_info; null: what a run cannot know. images: how many it was; the leaderboard takes
    all 10,000.
    """
    written = []
    for evaluation in run.evaluations("attacked"):
        settings, records = evaluation["settings"], run.records(evaluation["id"])
        if settings["target"] != "base" or not _published(settings) or len(records) < evaluation["examples"]:
            continue
        norm = {"linf": "Linf", "l2": "L2", "l1": "L1"}[settings["norm"]]
        clean = sum(record["predict_clean"] == record["label"] for record in records)
        found: Row = {
            "link": None, "name": run.name, "authors": None, "additional_data": None, "number_forward_passes": 1,
            "dataset": run.header["dataset"], "venue": None, "architecture": run.header["model"],
            "eps": _fraction(settings["eps"]), "clean_acc": _percent(clean, len(records)), "reported": None,
            "autoattack_acc": _percent(sum(record["correct"] for record in records), len(records)),
            "threat_model": norm, "images": len(records), "evaluation": evaluation["id"],
        }  # fmt: skip
        path = out / f"{run.name}-{norm}-{settings['eps']:.6g}-{evaluation['id']}.json"
        write_json(path, found)
        written.append(path)
    return written


def _published(settings: Row) -> bool:
    """Whether all four attacks ran, with their whole budgets and the targeted DLR loss."""
    members = {member["name"]: member["options"] for member in settings.get("members") or ()}
    full = settings["attack"] == "standard" and settings.get("share", 1.0) == 1
    return full and set(members) == {"apgd_ce", "apgd_t", "fab_t", "square"} and members["apgd_t"]["loss"] == "dlr"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f}"


def _fraction(eps: float) -> str:
    """8/255 where it is one."""
    return f"{round(eps * 255)}/255" if eps * 255 == round(eps * 255) and eps < 1 else f"{eps:.6g}"
