"""check: can these numbers be trusted?"""

from typing import Annotated

import typer

from gambeson.cli.options import Data, DataDir, Device, Factory, Mean, Out, Std, Weights, Where, opened
from gambeson.errors import RunError, UserError


def check(
    target: Where,
    fail_on: Annotated[str, typer.Option(help="Exit with status 1 on: fail, or doubt (or worse).")] = "fail",
    data: Data = None, data_dir: DataDir = None, out: Out = None, factory: Factory = None, weights: Weights = None,
    mean: Mean = None, std: Std = None, device: Device = "auto",
) -> None:  # fmt: skip
    """Doubt the numbers of a run: gradient masking, unsound certificates, models that are no fixed function.

    Example: gambeson check runs/mnist-stability-0.50 --fail-on doubt
    """
    from gambeson.checks import run_checks
    from gambeson.cli.adversarial import rejudge
    from gambeson.evaluation.plan import inspect

    if fail_on not in ("fail", "doubt"):
        raise UserError(f"--fail-on is {fail_on!r}; it must be fail or doubt")
    found = opened(target, data, data_dir, "test", 1, None, out, factory, weights, mean, std, device, None)
    classes, flags = inspect(found.model, found.data)
    verdicts = run_checks(found.run, rejudge(found, classes), flags)
    found.run.save_checks([verdict.record() for verdict in verdicts])
    for verdict in verdicts:
        typer.echo(f"{verdict.verdict:8} {verdict.check}: {verdict.meaning}")
        if verdict.verdict in ("doubt", "fail"):
            typer.echo(f"         next: {verdict.next_step}")
    bad = {"fail"} if fail_on == "fail" else {"fail", "doubt"}
    if any(verdict.verdict in bad for verdict in verdicts):
        raise RunError(f"{found.run.path}: a check did not pass")
