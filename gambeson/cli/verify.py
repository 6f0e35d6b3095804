"""verify: a run folder is evidence; anybody can check it again."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.cli.options import DataDir, Device, Mean, Std, Weights, Where
from gambeson.errors import RunError, UserError

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.data import Dataset


def verify(
    target: Where,
    images: Annotated[int, typer.Option(help="Certified images to judge on fresh noise, chosen at random.")] = 50,
    draws: Annotated[int, typer.Option(help="Fresh draws for each of them.")] = 10_000,
    seed: Annotated[int | None, typer.Option(help="Seed of images and noise (default: one nobody knows yet).")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set, where the run does not know its own.")] = None,
    data_dir: DataDir = None, weights: Weights = None, mean: Mean = None, std: Std = None, device: Device = "auto",
) -> None:  # fmt: skip
    """Check somebody's certificates: hashes, bounds from their counts, and claims on fresh, independent noise.

    Example: gambeson verify runs/mnist-stability-0.50 --images 100
    """
    from gambeson.cli.target import choose, held_out, resolve
    from gambeson.jsonl import write_json
    from gambeson.reports.naming import smoothed_name

    if images < 1 or draws < 1:
        raise UserError(f"--images is {images} and --draws {draws}; both must be at least 1")
    found = resolve(
        target, data=data, data_dir=data_dir, split="test", every=1, limit=None, out=None, weights=weights, mean=mean,
        std=std, device=device,
    )  # fmt: skip
    evaluations = found.run.evaluations("certified")
    if not evaluations:
        raise UserError(f"{target} holds no certificates; `gambeson certify` makes them")
    verdicts = []
    for evaluation in evaluations:
        name = smoothed_name(evaluation["settings"])
        about = evaluation["data"]
        same = about["split"] == found.data.split
        whole = (
            found.data if same else choose(about["dataset"], data_dir, about["split"], 1, None, **held_out(found.run))
        )
        verdict = _verify(found, evaluation, whole, images, draws, seed)
        verdicts.append({"evaluation": evaluation["id"], **verdict})
        outcome = "stands" if verdict["stands"] else "DOES NOT STAND"
        share = f"{verdict['rejected']} of {verdict['images']} claims are rejected ({verdict['allowed']} allowed)"
        agree = (
            f"{verdict['records']} of {evaluation['examples']} records are there and agree with their counts and images"
        )
        typer.echo(f"{name} ({evaluation['id']}): {agree}; on fresh noise {share}: {outcome}")
    write_json(found.run.path / "verified.json", {"verified": verdicts})
    if not all(verdict["stands"] for verdict in verdicts):
        raise RunError(f"{target}: more claims fail on fresh noise than chance allows; its certificates are not sound")


def _verify(
    found: "Target", evaluation: dict[str, Any], data: "Dataset", images: int, draws: int, seed: int | None
) -> dict[str, Any]:
    import numpy as np

    from gambeson.cli.adversarial import form_here
    from gambeson.cli.recorded import machine_of
    from gambeson.evaluation.plan import inspect
    from gambeson.evaluation.replayed import replayer
    from gambeson.evaluation.smoothing import smooth
    from gambeson.evaluation.verified import on_fresh_noise
    from gambeson.inference import Form
    from gambeson.records import evaluation_id

    settings, records = evaluation["settings"], found.run.records(evaluation["id"])
    where = f"{found.run.path}, {evaluation['id']}"
    if evaluation["id"] != (name := evaluation_id(evaluation["kind"], settings, evaluation["data"])):
        raise RunError(f"{where}: its settings and data are not those that its id is made of (they give {name})")
    made, now = evaluation["machine"] or {}, machine_of(found.model, settings["form"])
    if settings["budget"] == "exact" and made != now:
        differs = [f"{name} {made.get(name)} (here {value})" for name, value in now.items() if made.get(name) != value]
        raise UserError(
            f"{where}: every noisy copy is counted again and must vote as it did, as the last bits of logits decide; "
            f"they may differ here, as the copies were counted with {', '.join(differs)}: verify them there"
        )
    rows = {index: row for row, index in enumerate(data.indices.tolist())}
    hashes, labels = data.hashes(), data.labels.tolist()
    classes, _ = inspect(found.model, data)
    form = Form(**settings["form"]) if made == now else form_here(settings["form"], found.model)
    smoothed = smooth(found.model, data, noise=settings["noise"], seed=settings["seed"], form=form, classes=classes)
    if made == now and smoothed.base.positions != (positions := settings.get("positions", "alike")):
        raise RunError(f"{where}: positions is {positions}, the rows of a call are {smoothed.base.positions}")
    try:
        problem = replayer(smoothed, settings, data.images[0].numel())
    except RunError as error:
        raise RunError(f"{where}: {error}") from None
    for record in records:
        index = record["index"]
        if index not in rows or hashes[rows[index]] != record["hash"]:
            raise RunError(f"{where}: image {index} is not the one of {data.name} {data.split} (its hash differs)")
        if labels[rows[index]] != record["label"]:
            raise RunError(f"{where}: image {index} is of class {labels[rows[index]]}, not {record['label']}")
        if wrong := problem(record, data.pixels([rows[index]])[0]):
            raise RunError(f"{where}: image {index}: {wrong}")
    claims = [record for record in records if record["predict"] != -1]
    generator = np.random.default_rng(seed)
    chosen = [claims[i] for i in sorted(generator.permutation(len(claims))[:images])]
    pixels = data.pixels([rows[record["index"]] for record in chosen])
    verdict, rejected = on_fresh_noise(smoothed, pixels, chosen, draws=draws, alpha=settings["alpha"], seed=seed)
    return {"records": len(records), **verdict.record(), "rejected_images": rejected}
