"""Do the model, the images and the labels fit together? Asked with one image, before hours are spent."""

import torch

from gambeson.errors import UserError, first_line, out_of_memory
from gambeson.models import evaluating
from gambeson.training.players import Players
from gambeson.training.pool import batch
from gambeson.training.road import Road


def require_fit(players: Players, road: Road) -> None:
    """One image through every player that is a classifier of these labels, before hours are spent."""
    if "model" not in players:
        return
    x, _ = batch(road.data, torch.arange(1), road.fabric.device, road.dtype, road.memory)
    with torch.no_grad(), evaluating(players["model"]) as model:
        try:
            logits = model(x)
        except Exception as error:  # somebody else's code: anything may come out of it
            if out_of_memory(error):
                raise
            what = f"the model does not take images of shape {tuple(x.shape)}"
            raise UserError(f"{what} ({first_line(error)})") from error
    top, low = int(road.data.labels.max()), int(road.data.labels.min())
    if logits.ndim != 2 or low < 0 or top >= logits.shape[1]:
        raise UserError(f"the model gives {tuple(logits.shape)} for one image and labels reach from {low} to {top}; "
                        "it must give (1, classes) with every label in 0..classes-1")  # fmt: skip
