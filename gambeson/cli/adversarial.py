"""Adversarial images on disk: kept as they are found, judged again when a certificate is in doubt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gambeson.cli.target import Target
from gambeson.errors import UserError
from gambeson.evaluation.smoothing import smooth
from gambeson.inference import Form
from gambeson.models.modes import device_of

FRESH_DRAWS = 10_000


class Adversarial:
    """adversarial/<id>.safetensors: x, x_adv, indices of the first `limit` images, rewritten whole after every
    batch.
    """

    def __init__(self, run: Path, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise UserError(f"--keep is {limit}; it must be 0 or more images")
        self.folder, self.limit, self.path = run / "adversarial", limit, Path()
        self.rows: dict[int, tuple[Tensor, Tensor]] = {}

    def open(self, evaluation: str) -> None:
        self.path = self.folder / f"{evaluation}.safetensors"
        if self.path.exists():
            kept = _load(self.path)
            pairs = zip(kept["x"], kept["x_adv"], strict=True)
            self.rows = dict(zip(kept["indices"].tolist(), pairs, strict=True))

    def add(self, indices: Tensor, x: Tensor, x_adv: Tensor) -> None:
        self.rows.update(zip(indices.tolist(), zip(x, x_adv, strict=True), strict=True))
        chosen = sorted(self.rows)[: self.limit]
        self.rows = {index: self.rows[index] for index in chosen}
        if not set(chosen).intersection(indices.tolist()):
            return
        self.folder.mkdir(exist_ok=True)
        stacked = [torch.stack([self.rows[index][side] for index in chosen]).contiguous() for side in (0, 1)]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(save({"x": stacked[0], "x_adv": stacked[1], "indices": torch.tensor(chosen)}))
        temporary.replace(self.path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it: images that are attacked from now on are kept again"
        ) from None


def form_here(form: dict[str, Any], model: nn.Module) -> Form:
    """The form on this machine: fresh noise is another sample, not another claim about the same bits."""
    return Form(**{**form, "threads": torch.get_num_threads(), "device": device_of(model).type})


def rejudge(target: Target, classes: int) -> Callable[[dict[str, Any], int], int | None]:
    """The class that the smoothed classifier gives to a kept adversarial image on fresh noise; None if it was not
    kept.
    """

    def judge(attacked: dict[str, Any], index: int) -> int | None:
        path = target.run.path / "adversarial" / f"{attacked['id']}.safetensors"
        kept = _load(path) if path.exists() else {"indices": torch.empty(0)}
        rows = (kept["indices"] == index).nonzero()
        if not len(rows):
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
        image = kept["x_adv"][int(rows[0])]
        return smoothed.predict(
            image, index=index, draws=FRESH_DRAWS, alpha=settings["predict_alpha"], purpose="rejudge"
        )[0]

    return judge
