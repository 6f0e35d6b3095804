"""attack: how often an adversary succeeds."""

from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.evaluation import Evaluation
    from gambeson.inference import Form


def attack(
    target: Where,
    eps: Annotated[str, typer.Option(help="Radii in [0,1] pixel units: 0,8/255,0.1")] = "0.1",
    norm: Annotated[str, typer.Option(help="linf, l2 or l1.")] = "linf",
    attack: Annotated[str, typer.Option(help="pgd or fgsm (see `gambeson list attacks`).")] = "pgd",
    steps: Annotated[int, typer.Option(help="Gradient steps.")] = 20,
    step_size: Annotated[float | None, typer.Option(help="Step length (default eps/10).")] = None,
    step_rule: Annotated[str | None, typer.Option(help="sign, normalised, momentum, adam.")] = None,
    loss: Annotated[str, typer.Option(help="cross_entropy, margin, dlr.")] = "cross_entropy",
    restarts: Annotated[int, typer.Option(help="Random starts; the worst case counts, per image.")] = 1,
    random_start: Annotated[bool, typer.Option(help="Start at a random point of the ball.")] = True,
    early_stop: Annotated[
        bool | None, typer.Option(help="Stop at the first success (default: yes, but no with --noise).")
    ] = None,
    targeted: Annotated[str | None, typer.Option(help="random or least_likely: success = that class.")] = None,
    noise: Annotated[str | None, typer.Option(help="Attack the smoothed classifier: gaussian:0.5")] = None,
    attack_draws: Annotated[int, typer.Option(help="Noise draws inside the attack.")] = 16,
    predict_draws: Annotated[int, typer.Option(help="Noise draws of the final prediction.")] = 1000,
    predict_alpha: Annotated[float, typer.Option(help="Its error probability; it abstains otherwise.")] = 0.001,
    keep: Annotated[int | None, typer.Option(help="Adversarial images to keep, the first.")] = 1000,
    data: Data = None, data_dir: DataDir = None, split: Split = "test", every: Every = 1, limit: Limit = None,
    out: Out = None, factory: Factory = None, weights: Weights = None, mean: Mean = None, std: Std = None,
    device: Device = "auto", seed: Seed = 0, dtype: Dtype = "auto", memory: Memory = None, batch: Batch = None,
    threads: Threads = None, compiled: Compile = None,
) -> None:  # fmt: skip
    """Attack the base model, or with --noise the smoothed classifier; one evaluation per eps.

    Example: gambeson attack runs/mnist-stability-0.50 --norm l2 --eps 0,0.5,1,1.5 --every 20
    """
    from gambeson.cli.adversarial import Adversarial
    from gambeson.cli.forms import fitting, form_for
    from gambeson.cli.recorded import record
    from gambeson.cli.target import numbers
    from gambeson.evaluation import attacked
    from gambeson.evaluation.smoothing import unserved
    from gambeson.smoothed.budgets import predict_budget

    found = opened(target, data, data_dir, split, every, limit, out, factory, weights, mean, std, device, threads)
    radii = numbers(eps, "--eps")
    kept = [Adversarial(found.run.path, keep) for _ in radii]

    def planned(form: "Form | None") -> "list[Evaluation]":
        return [
            attacked(
                found.model, found.data, eps=radius, norm=norm, attack=attack, steps=steps, step_size=step_size,  # type: ignore[arg-type]
                step_rule=step_rule, loss=loss, restarts=restarts, random_start=random_start, early_stop=early_stop,
                targeted=targeted,
                noise=noise, attack_draws=attack_draws, predict_draws=predict_draws, predict_alpha=predict_alpha,
                seed=seed, form=form, keep=images.add,
            )
            for radius, images in zip(radii, kept, strict=True)
        ]  # fmt: skip

    if noise:
        predict_budget(predict_draws, predict_alpha)
        smoothed = unserved(found.model, found.data, noise=noise)
        asked = wishes(dtype, memory, batch, threads, compiled)
        ahead = len(found.data) * smoothed.draws(predict_draws) * len(radii)
        plans = fitting(found.run, form_for(found, asked, smoothed.noise, ahead), planned)
    else:
        given = {"--dtype": dtype != "auto", "--memory": memory is not None, "--batch": batch is not None}
        given["--compile"] = compiled is not None
        if useless := ", ".join(name for name, is_given in given.items() if is_given):
            raise UserError(
                f"without --noise the model is attacked as it is, in no inference form: leave {useless} out"
            )
        plans = planned(None)
    natural(found)
    for radius, images, evaluation in zip(radii, kept, plans, strict=True):
        name = record(
            found, evaluation, f"{attack} {norm} eps {radius:.4g}" + (f" {noise}" if noise else ""), images.open
        )
        _tell_attack(found, name, f"{attack} {norm} eps {radius:.4g}" + (f", smoothed {noise}" if noise else ""))


def _tell_attack(target: "Target", evaluation: str, title: str) -> None:
    records = target.run.records(evaluation)
    correct, abstained = sum(r["correct"] for r in records), sum(r["predict"] == -1 for r in records)
    wrong = len(records) - correct - abstained
    counts = (("correct", correct), ("wrong", wrong), ("abstained", abstained))
    shares = ", ".join(f"{name} {count / len(records):.3f}" for name, count in counts)
    if records[0]["target"] is not None:
        shares += f", reached the target {sum(r['success'] for r in records) / len(records):.3f}"
    typer.echo(f"{title}: {shares} ({len(records)} images)")
