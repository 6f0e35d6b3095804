"""check: can these numbers be trusted?"""

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
    Mean,
    Memory,
    Out,
    Seed,
    Split,
    Std,
    Threads,
    Weights,
    Where,
    opened,
    wishes,
)
from gambeson.errors import RunError, UserError

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.evaluation import Evaluation
    from gambeson.inference import Form


def check(
    target: Where,
    fail_on: Annotated[str, typer.Option(help="Exit with status 1 on: fail, or doubt (or worse).")] = "fail",
    measure: Annotated[bool, typer.Option(help="Attack in many ways first, to see why attacks fail.")] = True,
    eps: Annotated[
        str | None, typer.Option(help="In [0,1] pixel units (default: the largest that was attacked, or 0.1).")
    ] = None,
    norm: Annotated[str | None, typer.Option(help="linf, l2 or l1 (default: the first attack's, or linf).")] = None,
    noise: Annotated[str | None, typer.Option(help="Of the smoothed classifier: gaussian:0.5")] = None,
    attack_draws: Annotated[int | None, typer.Option(help="Noise draws inside the attacks (default: 16).")] = None,
    steps: Annotated[int, typer.Option(help="Of the longest attack.")] = 1_000,
    restarts: Annotated[int, typer.Option(help="Random starts.")] = 20,
    queries: Annotated[int, typer.Option(help="Of each attack without gradients.")] = 1_000,
    noise_draws: Annotated[int, typer.Option(help="Points of random noise.")] = 10_000,
    transfer: Annotated[
        str | None, typer.Option(help="Run or model whose adversarial images are tried too; train: trains one alike.")
    ] = None,
    data: Data = None, data_dir: DataDir = None, split: Split = "test", every: Every = 1,
    limit: Annotated[int, typer.Option(help="At most so many images are attacked; verdicts need 200.")] = 200,
    out: Out = None, factory: Factory = None, weights: Weights = None, mean: Mean = None, std: Std = None,
    device: Device = "auto", seed: Seed = 0, dtype: Dtype = "auto", memory: Memory = None, batch: Batch = None,
    threads: Threads = None, compiled: Compile = None,
) -> None:  # fmt: skip
    """Doubt the numbers of a run: masked gradients, weak attacks, unsound certificates, models that are no function.

    Example: gambeson check runs/mnist-stability-0.50 --fail-on doubt
    """
    from gambeson.checks import run_checks
    from gambeson.checks.contract import broken_contract
    from gambeson.cli.adversarial import rejudge
    from gambeson.cli.estimate import tell_effort
    from gambeson.cli.forms import fitting, form_for
    from gambeson.cli.recorded import record
    from gambeson.cli.target import numbers, other_model
    from gambeson.evaluation import diagnosed
    from gambeson.evaluation.plan import inspect
    from gambeson.evaluation.probes import Budget
    from gambeson.evaluation.smoothing import unserved
    from gambeson.models.layers import Normalize

    given = {"--eps": eps, "--norm": norm, "--noise": noise, "--transfer": transfer, "--attack-draws": attack_draws}
    if not measure and (useless := ", ".join(name for name, value in given.items() if value is not None)):
        raise UserError(f"--no-measure attacks nothing: leave {useless} out")
    if attack_draws is not None and noise is None:
        raise UserError(f"--attack-draws is {attack_draws}; that is about a smoothed classifier: give --noise")
    if fail_on not in ("fail", "doubt"):
        raise UserError(f"--fail-on is {fail_on!r}; it must be fail or doubt")
    found = opened(target, data, data_dir, split, every, limit, out, factory, weights, mean, std, device, threads)
    try:
        classes, flags = inspect(found.model, found.data)
    except UserError as wrong:  # whatever was recorded of it is about no fixed function of images
        found.run.save_checks([broken_contract(str(wrong)).record()])
        raise RunError(f"{found.run.path}: the check model_contract fails: {wrong}") from None
    if measure:
        ball = _ball(found, norm, None if eps is None else numbers(eps, "--eps"), noise)
        draws = {} if attack_draws is None else {"attack_draws": attack_draws}
        budget = Budget(steps=steps, restarts=restarts, queries=queries, noise_draws=noise_draws)
        source = None if transfer is None else other_model(found, transfer, data_dir)

        def planned(form: "Form | None") -> "list[Evaluation]":
            return [
                diagnosed(
                    found.model, found.data, norm=ball[0], eps=ball[1], noise=noise, source=source,  # type: ignore[arg-type]
                    budget=budget, seed=seed, form=form, batch=None if noise else batch, **draws,
                )
            ]  # fmt: skip

        if noise:
            smoothed = unserved(found.model, found.data, noise=noise)
            asked = wishes(dtype, memory, batch, threads, compiled)
            [evaluation] = fitting(found.run, form_for(found, asked, smoothed.noise, len(found.data)), planned)
        else:
            [evaluation] = planned(None)
        title = f"diagnosis {ball[0]} eps {ball[1]:.4g}" + (f" {noise}" if noise else "")
        tell_effort(found, [evaluation])
        record(found, evaluation, title)
    scale = [layer.std.flatten().tolist() for layer in found.model.modules() if isinstance(layer, Normalize)]
    verdicts = run_checks(found.run, rejudge(found, classes), flags, scale[0] if scale else ())
    found.run.save_checks([verdict.record() for verdict in verdicts])
    for verdict in verdicts:
        typer.echo(f"{verdict.verdict:8} {verdict.check}: {verdict.meaning}")
        if verdict.verdict in ("doubt", "fail"):
            typer.echo(f"         next: {verdict.next_step}")
    bad = {"fail"} if fail_on == "fail" else {"fail", "doubt"}
    if failed := [verdict.check for verdict in verdicts if verdict.verdict in bad]:
        raise RunError(f"{found.run.path}: {', '.join(failed)} did not pass")


def _ball(found: "Target", norm: str | None, eps: list[float] | None, noise: str | None) -> tuple[str, float]:
    """What was asked for, or what this classifier was attacked in, at the largest eps: weak attacks show there."""
    if eps is not None and len(eps) != 1:
        raise UserError(f"--eps names {len(eps)} values; a diagnosis is of one")
    from gambeson.noise import parse

    noise = None if noise is None else parse(noise).name
    attacks = [evaluation["settings"] for evaluation in found.run.evaluations("attacked")]
    balls = [(s["norm"], s["eps"]) for s in attacks if s["eps"] and s["noise"] == noise and norm in (None, s["norm"])]
    norm = norm or (balls[0][0] if balls else "linf")
    if eps is not None:
        return norm, eps[0]
    return norm, max((size for of, size in balls if of == norm), default=0.1)
