"""Adversarial images on disk: kept as they are found, judged again when a certificate is in doubt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gambeson import kept
from gambeson.cli.target import Target
from gambeson.errors import UserError
from gambeson.evaluation.smoothing import smooth
from gambeson.inference import Form
from gambeson.models.modes import device_of

FRESH_DRAWS = 10_000


class Adversarial:
    """The first `limit` images of an attack and what became of them, rewritten whole after every batch."""

    def __init__(self, run: Path, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise UserError(f"--keep is {limit}; it must be 0 or more images")
        self.run, self.limit, self.path = run, limit, Path()
        self.rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def open(self, evaluation: str) -> None:
        self.path = kept.path_of(self.run, evaluation)
        if self.path.exists():
            found = kept.read(self.path)
            pairs = zip(found["x"], found["x_adv"], strict=True)
            self.rows = dict(zip(found["indices"].tolist(), pairs, strict=True))

    def add(self, indices: Tensor, x: Tensor, x_adv: Tensor) -> None:
        self.rows.update(zip(indices.tolist(), zip(x.numpy(), x_adv.numpy(), strict=True), strict=True))
        chosen = sorted(self.rows)[: self.limit]
        self.rows = {index: self.rows[index] for index in chosen}
        if set(chosen).intersection(indices.tolist()):
            before, after = (np.stack([self.rows[index][side] for index in chosen]) for side in (0, 1))
            kept.write(self.path, {"x": before, "x_adv": after, "indices": np.array(chosen)})


def form_here(form: dict[str, Any], model: nn.Module) -> Form:
    """The form on this machine: fresh noise is another sample, not another claim about the same bits."""
    return Form(**{**form, "threads": torch.get_num_threads(), "device": device_of(model).type})


def rejudge(target: Target, classes: int) -> Callable[[dict[str, Any], int], int | None]:
    """The class that the smoothed classifier gives to a kept adversarial image on fresh noise; None if it was not
    kept.
    """

    def judge(attacked: dict[str, Any], index: int) -> int | None:
        path = kept.path_of(target.run.path, attacked["id"])
        found = kept.read(path) if path.exists() else None
        if found is None or index not in found["indices"]:
            return None
        settings = attacked["settings"]
        smoothed = smooth(
            target.model,
            target.data,
            noise=settings["noise"],
            seed=settings["seed"],
            form=form_here(settings["form"], target.model),
            classes=classes,
        )
        image = torch.from_numpy(found["x_adv"][found["indices"] == index][0])
        return smoothed.predict(
            image, index=index, draws=FRESH_DRAWS, alpha=settings["predict_alpha"], purpose="rejudge"
        )[0]

    return judge
