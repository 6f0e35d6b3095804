"""Several images' procedures at once, their draws in shared calls of the model; in one go, or slice by slice."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from gambeson.errors import UserError
from gambeson.keys import Part
from gambeson.sampling import Counts, counts
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Ask, Procedure

Answers = Mapping[tuple[str, int], Counts]  # to an image's asks, by (stage, first); the last ones may lack draws


def together(
    smoothed: Smoothed, procedures: Sequence[Procedure], images: Tensor, indices: Sequence[Part]
) -> list[dict[str, Any]]:
    """Run every procedure to its end; what an image is sent does not depend on its company.

    images: float (N, C, H, W) in [0, 1]; indices: what names their noise, such as stable indices.
    """
    done, _ = advance(smoothed, procedures, images, indices, [{}] * len(images), lambda: False)
    return [done[row] for row in range(len(images))]


def advance(
    smoothed: Smoothed,
    procedures: Sequence[Procedure],
    images: Tensor,
    indices: Sequence[Part],
    answers: Sequence[Answers],
    over: Callable[[], bool],
) -> tuple[dict[int, dict[str, Any]], Sequence[Answers]]:
    """Go on with procedures that were answered before, for one call of the model at least, until `over` says so.

    procedures: fresh ones; they are sent the known answers again, and cannot tell. answers: of every image. Returns
    what has ended, by row, and all answers so far. Nobody asks for more before all have what they asked for, and a
    slice ends between two calls: however time cuts the work, the calls of the model are the same, row by row.
    """
    known = [dict(before) for before in answers]
    asks: dict[int, Ask] = {row: next(procedure) for row, procedure in enumerate(procedures)}
    done: dict[int, dict[str, Any]] = {}
    while asks:
        rests = {row: _rest(ask, known[row], smoothed.classes, indices[row]) for row, ask in asks.items()}
        if short := {row: rest for row, rest in rests.items() if rest.draws}:
            requests = [smoothed.request(images[row], indices[row], rest) for row, rest in short.items()]
            found = counts(smoothed.base, requests, noise=smoothed.noise, classes=smoothed.classes, over=over)
            for row, more in zip(short, found, strict=True):
                if not more.draws:
                    break  # the slice ended before this image's turn
                place = asks[row].stage, asks[row].first
                known[row][place] = known[row][place] + more if place in known[row] else more
        for row, ask in list(asks.items()):
            answer = known[row].get((ask.stage, ask.first))
            if answer is None or answer.draws < ask.draws:
                continue  # the slice ended
            try:
                asks[row] = procedures[row].send(answer)
            except StopIteration as finished:
                done[row] = finished.value
                del asks[row]
        if short and over():
            break
    return done, known


def _rest(ask: Ask, known: Answers, classes: int, index: Part) -> Ask:
    """What is left of an ask."""
    found = known.get((ask.stage, ask.first))
    if found is None:
        return ask
    if found.draws > ask.draws or len(found.classes) != classes:
        raise UserError(
            f"image {index}: its partial counts are {found.draws} draws of {len(found.classes)} classes where the "
            f"procedure asks for {ask.draws} draws of {classes}: delete partial.jsonl and run again"
        )
    return ask._replace(first=ask.first + found.draws, draws=ask.draws - found.draws)
