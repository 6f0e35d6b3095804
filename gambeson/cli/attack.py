"""attack: how often an adversary succeeds."""

from collections import Counter
from inspect import signature
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.cli.options import (
    Batch,
    Compile,
    Data,
    DataDir,
    Device,
    Dtype,
    Every,
    Factory,
    Limit,
    Mean,
    Memory,
    Out,
    Seed,
    Split,
    Std,
    Threads,
    Weights,
    Where,
    natural,
    opened,
    wishes,
)
from gambeson.errors import UserError
from gambeson.errors import nearest as nearest_name

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.evaluation import Evaluation
    from gambeson.inference import Form


def attack(
    target: Where,
    eps: Annotated[str | None, typer.Option(help="Radii in [0,1] pixel units: 0,8/255,0.1 (default: 0.1).")] = None,
    norm: Annotated[str | None, typer.Option(help="linf, l2 or l1 (default: linf, or the attack's own).")] = None,
    attack: Annotated[str | None, typer.Option(help="See `gambeson list attacks` (default: pgd).")] = None,
    preset: Annotated[str | None, typer.Option(help="A suite: weak, paper, standard, plus, rand, strong.")] = None,
    share: Annotated[float, typer.Option(help="Of a suite's restarts and queries, for slow models.")] = 1.0,
    steps: Annotated[int | None, typer.Option(help="Gradient steps (default: the attack's own, PGD's 20).")] = None,
    step_size: Annotated[float | None, typer.Option(help="Step length (default, of PGD: eps/10).")] = None,
    step_rule: Annotated[str | None, typer.Option(help="sign, normalised, momentum, adam.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy, margin, difference, dlr.")] = None,
    restarts: Annotated[int | None, typer.Option(help="Random starts; the worst case counts, per image.")] = None,
    random_start: Annotated[bool | None, typer.Option(help="Start at a random point of the ball.")] = None,
    early_stop: Annotated[
        bool | None, typer.Option(help="Stop at the first success (default: yes, but no with --noise).")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other option of the attack: queries=500")
    ] = None,
    transfer: Annotated[
        str | None, typer.Option(help="Run or model that transfer attacks are made on; train: trains one alike.")
    ] = None,
    targeted: Annotated[str | None, typer.Option(help="random or least_likely: success = that class.")] = None,
    noise: Annotated[str | None, typer.Option(help="Attack the smoothed classifier: gaussian:0.5")] = None,
    attack_draws: Annotated[int | None, typer.Option(help="Noise draws inside the attack (default: 16).")] = None,
    order: Annotated[
        str, typer.Option(help="log_of_mean, or mean_of_log: the wrong objective, to compare.")
    ] = "log_of_mean",
    redraw: Annotated[bool, typer.Option(help="New noise at every step of the attack.")] = False,
    gradient: Annotated[str, typer.Option(help="autograd, or stein: estimated from scores.")] = "autograd",
    predict_draws: Annotated[int | None, typer.Option(help="Noise draws of the final vote (default: 1000).")] = None,
    predict_alpha: Annotated[
        float | None, typer.Option(help="Its error probability; it abstains otherwise (default: 0.001).")
    ] = None,
    keep: Annotated[int | None, typer.Option(help="Adversarial images to keep, the first.")] = 1000,
    data: Data = None, data_dir: DataDir = None, split: Split = "test", every: Every = 1, limit: Limit = None,
    out: Out = None, factory: Factory = None, weights: Weights = None, mean: Mean = None, std: Std = None,
    device: Device = "auto", seed: Seed = 0, dtype: Dtype = "auto", memory: Memory = None, batch: Batch = None,
    threads: Threads = None, compiled: Compile = None,
) -> None:  # fmt: skip
    """Attack the base model, or with --noise the smoothed classifier; one evaluation per eps.

    Example: gambeson attack runs/mnist-stability-0.50 --norm l2 --eps 0,0.5,1,1.5 --every 20
    """
    from gambeson.attacks import NEAREST_ATTACKS
    from gambeson.attacks.by_name import own_norm
    from gambeson.cli.adversarial import Adversarial
    from gambeson.cli.estimate import tell_effort
    from gambeson.cli.forms import fitting, form_for
    from gambeson.cli.recorded import record
    from gambeson.cli.target import numbers, other_model
    from gambeson.evaluation import attacked
    from gambeson.evaluation.smoothing import unserved
    from gambeson.smoothed.budgets import predict_budget

    name = _which(attack, preset)
    found = opened(target, data, data_dir, split, every, limit, out, factory, weights, mean, std, device, threads)
    nearest = name in NEAREST_ATTACKS
    if nearest and eps is not None:
        raise UserError(f"--eps is {eps}; {name} looks for the smallest perturbation: leave it out")
    radii: list[float | None] = [None] if nearest else [*numbers("0.1" if eps is None else eps, "--eps")]
    norm = norm or (own_norm(name) if nearest else "linf")
    listed = {"steps": steps, "step_size": step_size, "step_rule": step_rule, "loss": loss, "restarts": restarts}
    listed |= {"random_start": random_start, "early_stop": early_stop}
    options = {key: value for key, value in listed.items() if value is not None} | _set(settings or [])
    if transfer is not None and name not in ("transfer", "strong"):
        raise UserError(f"--transfer is {transfer}; {name} makes no use of it: --attack transfer, --preset strong do")
    if transfer is None and name == "strong":
        typer.echo("strong without transfer: --transfer RUN, a model or train adds it", err=True)
    source = None if transfer is None else other_model(found, transfer, data_dir)
    draws = _draws(noise, attack_draws=attack_draws, predict_draws=predict_draws, predict_alpha=predict_alpha)
    kept = [Adversarial(found.run.path, keep) for _ in radii]

    def planned(form: "Form | None") -> "list[Evaluation]":
        return [
            attacked(
                found.model, found.data, eps=radius, norm=norm, attack=name, targeted=targeted, noise=noise,  # type: ignore[arg-type]
                order=order, redraw=redraw, gradient=gradient, source=source, share=share, seed=seed, form=form,
                keep=images.add, batch=None if noise else batch, **draws, **options,
            )
            for radius, images in zip(radii, kept, strict=True)
        ]  # fmt: skip

    if noise:
        predict_budget(draws["predict_draws"], draws["predict_alpha"])
        smoothed = unserved(found.model, found.data, noise=noise)
        asked = wishes(dtype, memory, batch, threads, compiled)
        ahead = len(found.data) * smoothed.draws(draws["predict_draws"]) * len(radii)
        plans = fitting(found.run, form_for(found, asked, smoothed.noise, ahead), planned)
    else:
        given = {"--dtype": dtype != "auto", "--memory": memory is not None, "--compile": compiled is not None}
        if useless := ", ".join(name for name, is_given in given.items() if is_given):
            raise UserError(
                f"without --noise the model is attacked as it is, in no inference form: leave {useless} out"
            )
        plans = planned(None)
    natural(found)
    if _blind(plans[0].settings):
        ran = ", ".join(member["name"] for member in plans[0].settings["members"])
        typer.echo(f"the model has no gradient: of {name} only {ran} can run", err=True)
    tell_effort(found, plans)
    for radius, images, evaluation in zip(radii, kept, plans, strict=True):
        title = f"{name} {norm}" + ("" if radius is None else f" eps {radius:.4g}")

        def start(name: str, images: Adversarial = images) -> None:
            images.open(name)

        written = record(found, evaluation, title + (f" {noise}" if noise else ""), start)
        _tell_attack(found, written, title + (f", smoothed {noise}" if noise else ""), nearest, noise is not None)


def _which(attack: str | None, preset: str | None) -> str:
    from gambeson.suites import PRESETS

    if attack is not None and preset is not None:
        raise UserError(f"--attack is {attack} and --preset {preset}; give one of them")
    if preset is not None and preset not in PRESETS:
        raise UserError(f"--preset is {preset!r}; {nearest_name(preset, PRESETS)}")
    return preset or attack or "pgd"


def _draws(noise: str | None, **given: Any) -> dict[str, Any]:
    """What is said of draws, with what is usual; without noise nothing is drawn."""
    from gambeson.evaluation import attacked

    if noise is None and (
        said := ", ".join(f"--{name.replace('_', '-')}" for name in given if given[name] is not None)
    ):
        raise UserError(f"without --noise nothing is drawn: leave {said} out")
    usual = signature(attacked).parameters
    return {name: usual[name].default if value is None else value for name, value in given.items()}


def _blind(settings: dict[str, Any]) -> bool:
    """Whether a suite was left with attacks that need no gradient."""
    from gambeson.attacks import BLACK_BOX

    members = settings.get("members") or ()
    return bool(members) and all(member["attack"] in BLACK_BOX for member in members)


def _set(settings: list[str]) -> dict[str, Any]:
    """What --set says, but for what has an option by itself."""
    from gambeson.evaluation import attacked
    from gambeson.recipe import overridden

    found = overridden({}, settings)
    for name in found:
        if name in signature(attacked).parameters:
            raise UserError(f"--set {name} is no option of an attack; --{name.replace('_', '-')} is one by itself")
    return found


def _tell_attack(target: "Target", evaluation: str, title: str, nearest: bool, voted: bool) -> None:
    records = target.run.records(evaluation)
    correct, abstained = sum(r["correct"] for r in records), sum(r["predict"] == -1 for r in records)
    wrong = len(records) - correct - abstained
    counts = (("correct", correct), ("wrong", wrong), ("abstained", abstained))
    shares = ", ".join(f"{name} {count / len(records):.3f}" for name, count in counts)
    if records[0]["target"] is not None:
        shares += f", reached the target {sum(r['success'] for r in records) / len(records):.3f}"
    if nearest and records[0]["target"] is None:
        hit = (r for r in records if r["predict"] not in (r["label"], -1))
        found = [r["distance"] for r in hit if r["success"] or voted]  # a vote judges alone, see Attacked.fooled
        shares = f"fooled {len(found) / len(records):.3f}" + (f", median distance {median(found):.4g}" if found else "")
    typer.echo(f"{title}: {shares} ({len(records)} images)")
    if broken := Counter(r["broken_by"] for r in records if r.get("broken_by")):
        typer.echo("broken by: " + ", ".join(f"{member} {count}" for member, count in broken.items()))
