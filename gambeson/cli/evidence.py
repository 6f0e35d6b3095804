"""One evaluation of a run folder as evidence: its images, its counts and bounds, and its claims on fresh noise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from gambeson.cli.adversarial import form_here
from gambeson.cli.recorded import machine_of
from gambeson.cli.target import by_rule
from gambeson.data import Dataset
from gambeson.errors import RunError, UserError, first_line, out_of_memory
from gambeson.evaluation.plan import inspect
from gambeson.evaluation.replayed import replayer
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.verified import on_fresh_noise
from gambeson.machine import differences
from gambeson.noise import parse
from gambeson.records import Run, evaluation_id
from gambeson.schema import check_settings
from gambeson.smoothed.hard import Smoothed


def verdict_on(
    run: Run, model: nn.Module, evaluation: dict[str, Any], load: Callable[[str], Dataset], *, images: int,
    draws: int, seed: int | None, tell: Callable[[int], None],
) -> dict[str, Any]:  # fmt: skip
    """What verifying one evaluation gives, as it is recorded. stands: None where that cannot be said here; `why`:
    why it does not stand, or cannot be told. load: a split of the data by its name. tell: how many images are judged.

    Where memory runs out, calls of the model get half the rows: the test on fresh noise does not mind. Where every
    noisy copy is counted, it does.
    """
    smaller = 1
    while True:
        try:
            whole = load(evaluation["data"]["split"])
            verdict = _judged(run, model, evaluation, whole, images, draws, seed, tell, smaller)
        except RunError as error:
            verdict = {"stands": False, "why": str(error)}
        except UserError as error:  # here: on another machine, or with other libraries, it may be verified
            verdict = {"stands": None, "why": str(error)}
        except Exception as error:
            if not out_of_memory(error):
                raise
            settings, smaller = evaluation["settings"], 2 * smaller
            if settings["budget"] != "exact" and settings["form"]["batch"] >= smaller:
                continue
            verdict = {"stands": None, "why": f"memory runs out here ({first_line(error)})"}
        return {"evaluation": evaluation["id"], **verdict}


def _judged(
    run: Run, model: nn.Module, evaluation: dict[str, Any], whole: Dataset, images: int, draws: int, seed: int | None,
    tell: Callable[[int], None], smaller: int,
) -> dict[str, Any]:  # fmt: skip
    settings = evaluation["settings"]
    if evaluation["id"] != (name := evaluation_id(evaluation["kind"], settings, evaluation["data"])):
        raise RunError(f"its settings and data are not those that its id is made of (they give {name})")
    with _no_excuse("its records"):
        records = run.records(evaluation["id"])
    with _no_excuse("its settings"):
        check_settings("certified", settings)
        parse(settings["noise"])
    data = _images(evaluation, records, whole, run.header)
    made, now = evaluation["machine"] or {}, machine_of(model, evaluation["settings"]["form"])
    smoothed = _smoothed(model, evaluation, data, made, now, smaller)
    try:
        with _no_excuse("its settings ask for what cannot be certified"):
            problem = replayer(smoothed, settings, data.images[0].numel())
    except RunError as error:
        if (version := made.get("gambeson", now["gambeson"])) == now["gambeson"]:
            raise
        raise UserError(f"{error}; it was made by {version}: verify it with that, or certify again") from None
    rows = {index: row for row, index in enumerate(data.indices.tolist())}
    for record in records:
        if wrong := problem(record, data.pixels([rows[record["index"]]])[0]):
            raise RunError(f"image {record['index']}: {wrong}")
    generator = np.random.default_rng(seed)
    chosen = [records[i] for i in sorted(generator.permutation(len(records))[:images])]
    pixels = data.pixels([rows[record["index"]] for record in chosen])
    verdict, rejected = on_fresh_noise(
        smoothed, pixels, chosen, draws=draws, alpha=settings["alpha"], seed=seed, tell=tell
    )
    if settings["budget"] == "exact" and rejected and made != now:
        raise UserError(
            f"{len(rejected)} of {len(chosen)} images are not counted here as they were, which proves nothing: the "
            "last bits of logits decide votes, and may differ, as the copies were counted with "
            f"{differences(made, now) or 'a processor or versions that are not recorded'}: verify them there"
        )
    why = None if verdict.stands else "more claims fail on fresh noise than chance allows: they are not sound"
    return {"records": len(records), **verdict.record(), "rejected_images": rejected, "why": why}


@contextmanager
def _no_excuse(what: str) -> Iterator[None]:
    """Elsewhere a user's mistake; in a run folder that is to be believed, a reason not to."""
    try:
        yield
    except UserError as error:
        raise RunError(f"{what}: {error}") from None


def _images(
    evaluation: dict[str, Any], records: list[dict[str, Any]], whole: Dataset, header: dict[str, Any]
) -> Dataset:
    """The images that the evaluation says it is about: all of them, and no other, have a record. They are of the
    header's data set, whose levels, shape and classes `predict` goes by.
    """
    about = evaluation["data"]
    if about["dataset"] != (header["dataset"] or about["dataset"]):
        raise RunError(f"it is about {about['dataset']}, the run about {header['dataset']}")
    if about["levels"] != whole.levels:
        raise RunError(f"the levels of {whole.name} are {whole.levels}, and the evaluation says {about['levels']}")
    told = {"levels": whole.levels, "shape": list(whole.images.shape[1:]), "classes": list(whole.classes)}
    known = header | {"classes": header["classes"][: len(whole.classes)]}  # float data does not know all of them
    for name, value in told.items():
        if known[name] != value:
            raise RunError(f"the {name} of {whole.name} are {value}, and the header says {header[name]}")
    data = by_rule(whole, about["rule"])
    if data.fingerprint != about["fingerprint"]:
        raise RunError(f"{about['rule']} of {whole.name} are not the images that it is about (another fingerprint)")
    rows = {index: row for row, index in enumerate(data.indices.tolist())}
    hashes, labels = data.hashes(), data.labels.tolist()
    for record in records:
        index, row = record["index"], rows.get(record["index"])
        if row is None or hashes[row] != record["hash"]:
            raise RunError(f"image {index} is not the one of {data.name} {data.split} (its hash differs)")
        if labels[row] != record["label"]:
            raise RunError(f"image {index} is of class {labels[row]}, not {record['label']}")
    if len(records) < len(data):
        raise RunError(f"{len(records)} of {len(data)} records are there: it is not finished, or some were taken away")
    return data


def _smoothed(
    model: nn.Module, evaluation: dict[str, Any], data: Dataset, made: dict[str, Any], now: dict[str, Any],
    smaller: int,
) -> Smoothed:  # fmt: skip
    """made, now: the machine that made the evaluation, as far as it is recorded, and this one. smaller: by what the
    rows of a call are divided.
    """
    settings = evaluation["settings"]
    classes, flags = inspect(model, data)
    told = {flag.get("flag") for flag in evaluation["flags"]}
    if made == now and (left_out := [flag.name for flag in flags if flag.name not in told]):
        raise RunError(f"it does not tell the doubts about its model that are found here: {', '.join(left_out)}")
    form = form_here(settings["form"], model)
    if made == now or settings["budget"] == "exact":  # every noisy copy should vote as it did
        form = replace(form, threads=settings["form"]["threads"])
    form = replace(form, batch=form.batch // smaller)
    smoothed = smooth(model, data, noise=settings["noise"], seed=settings["seed"], form=form, classes=classes)
    if made == now and smaller == 1 and smoothed.base.positions != (positions := settings.get("positions", "alike")):
        raise RunError(f"positions is {positions}, the rows of a call are {smoothed.base.positions}")
    return smoothed
