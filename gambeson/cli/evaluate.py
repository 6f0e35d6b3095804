"""attack, certify, check: evaluations of a run or of a model of the user's own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.errors import RunError, UserError

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.engines import Engine
    from gambeson.evaluation import Evaluation
    from gambeson.records import Run

Where = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="Run folder, or package.module:factory, or weights file.")
]
Data = Annotated[str | None, typer.Option("--data", help="Data set (a run knows its own): mnist, folder:PATH, ...")]
DataDir = Annotated[Path | None, typer.Option(help="Where data is looked for first (then $GAMBESON_DATA, the cache).")]
Split = Annotated[str, typer.Option(help="Which images: test, or validation to choose between models.")]
Every = Annotated[int, typer.Option(help="Every k-th image, by its stable index.")]
Limit = Annotated[int | None, typer.Option(help="At most so many images.")]
Out = Annotated[Path | None, typer.Option(help="Run folder for a model that is not a run.")]
Weights = Annotated[Path | None, typer.Option(help="Weights for package.module:factory.")]
Mean = Annotated[str | None, typer.Option(help="Channel means, for a model that does not normalise itself.")]
Std = Annotated[str | None, typer.Option(help="Channel standard deviations, likewise.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Dtype = Annotated[str, typer.Option(help="Inference form that is sampled: float32 or bfloat16.")]
Memory = Annotated[
    str | None, typer.Option(help="Inference form: channels_last (default where the model runs so) or contiguous.")
]
Batch = Annotated[int, typer.Option(help="Inference form: noisy images in a call.")]
Threads = Annotated[int | None, typer.Option(help="Inference form: CPU threads (default: as torch has them).")]


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
    out: Out = None, weights: Weights = None, mean: Mean = None, std: Std = None, device: Device = "auto",
    seed: Seed = 0, dtype: Dtype = "float32", memory: Memory = None, batch: Batch = 200,
    threads: Threads = None,
) -> None:  # fmt: skip
    """Attack the base model, or with --noise the smoothed classifier; one evaluation per eps.

    Example: gambeson attack runs/mnist-stability-0.50 --norm l2 --eps 0,0.5,1,1.5 --every 20
    """
    from gambeson.cli.adversarial import Adversarial
    from gambeson.cli.target import numbers, record
    from gambeson.evaluation import attacked
    from gambeson.noise import parse

    found = _target(target, data, data_dir, split, every, limit, out, weights, mean, std, device, threads)
    form = inference_form(dtype, memory, batch, device) if noise else None
    radii = numbers(eps, "--eps")
    if noise:
        parse(noise)
    kept = [Adversarial(found.run.path, keep) for _ in radii]
    plans = [
        attacked(
            found.model, found.data, eps=radius, norm=norm, attack=attack, steps=steps, step_size=step_size,  # type: ignore[arg-type]
            step_rule=step_rule, loss=loss, restarts=restarts, random_start=random_start, early_stop=early_stop,
            targeted=targeted,
            noise=noise, attack_draws=attack_draws, predict_draws=predict_draws, predict_alpha=predict_alpha,
            seed=seed, form=form, keep=images.add,
        )
        for radius, images in zip(radii, kept, strict=True)
    ]  # fmt: skip
    _clean(found)
    for radius, images, evaluation in zip(radii, kept, plans, strict=True):
        name = record(
            found, evaluation, f"{attack} {norm} eps {radius:.4g}" + (f" {noise}" if noise else ""), images.open
        )
        _tell_attack(found, name, f"{attack} {norm} eps {radius:.4g}" + (f", smoothed {noise}" if noise else ""))


def certify(
    target: Where,
    noise: Annotated[str | None, typer.Option(help="kind:scale, several by commas: gaussian:0.25,laplace:0.3")] = None,
    radii: Annotated[
        str | None, typer.Option(help="Decide these radii only, with as few draws as that takes: 0,0.25,0.5")
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Noisy copies that bound the class probability, n (with --radii: at most).")
    ] = 100_000,
    select_draws: Annotated[int, typer.Option(help="Noisy copies that pick the class, n0.")] = 100,
    alpha: Annotated[float, typer.Option(help="Failure probability of each image's certificate.")] = 0.001,
    price: Annotated[float, typer.Option(help="With --radii: draws that one more certified radius is worth.")] = 1e7,
    stop_wrong: Annotated[
        bool, typer.Option("--stop-wrong", help="With --radii: do not certify images whose class is wrong.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray (a Ray cluster).")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that share the images, one thread each unless --threads is given (ray: all)."),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster: host:port or auto (default: one is started here).")
    ] = None,
    data: Data = None, data_dir: DataDir = None, split: Split = "test", every: Every = 1, limit: Limit = None,
    out: Out = None, weights: Weights = None, mean: Mean = None, std: Std = None, device: Device = "auto",
    seed: Seed = 0, dtype: Dtype = "float32", memory: Memory = None, batch: Batch = 200,
    threads: Threads = None,
) -> None:  # fmt: skip
    """Certify the smoothed classifier: every certificate that the noise allows, from the same counts.

    Example: gambeson certify runs/mnist-stability-0.50 --noise gaussian:0.5 --every 20
    """
    from gambeson.cli.target import numbers, record
    from gambeson.evaluation import certified

    if threads is None and (engine == "ray" or workers not in (None, 1)):
        threads = 1
    if radii is None and stop_wrong:
        raise UserError("--stop-wrong goes with --radii: with a fixed budget every image gets the same draws")
    _check_engine(engine, workers, ray_address)
    found = _target(target, data, data_dir, split, every, limit, out, weights, mean, std, device, threads)
    form = inference_form(dtype, memory, batch, device)
    names = [word.strip() for word in (noise or trained_noise(found.run)).split(",")]
    grid = None if radii is None else numbers(radii, "--radii")
    budget: dict[str, Any] = {"draws": draws, "select_draws": select_draws, "alpha": alpha, "radii": grid}
    budget |= {"price": price, "stop_wrong": stop_wrong}
    plans = [certified(found.model, found.data, noise=name, seed=seed, form=form, **budget) for name in names]
    _clean(found)
    for name, plan in zip(names, plans, strict=True):
        largest = ", ".join(f"{key} {radius:.3f}" for key, radius in _one_sided(plan.settings["max_radius"]))
        most = "at most " if grid else ""
        typer.echo(f"{name}: {most}{draws} draws at alpha {alpha:g} certify at most {largest}")
        evaluation = record(found, plan, f"certify {name}", engine=_engine(engine, workers, ray_address, plan))
        _tell_certified(found, evaluation, name, grid or [0, 0.25, 0.5, 0.75, 1, 1.5, 2])


def check(
    target: Where,
    fail_on: Annotated[str, typer.Option(help="Exit with status 1 on: fail, or doubt (or worse).")] = "fail",
    data: Data = None, data_dir: DataDir = None, out: Out = None, weights: Weights = None, mean: Mean = None,
    std: Std = None, device: Device = "auto",
) -> None:  # fmt: skip
    """Doubt the numbers of a run: gradient masking, unsound certificates, models that are no fixed function.

    Example: gambeson check runs/mnist-stability-0.50 --fail-on doubt
    """
    from gambeson.checks import run_checks
    from gambeson.cli.adversarial import rejudge
    from gambeson.evaluation.plan import inspect

    if fail_on not in ("fail", "doubt"):
        raise UserError(f"--fail-on is {fail_on!r}; it must be fail or doubt")
    found = _target(target, data, data_dir, "test", 1, None, out, weights, mean, std, device, None)
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


def _target(
    target: str, data: str | None, data_dir: Path | None, split: str, every: int, limit: int | None, out: Path | None,
    weights: Path | None, mean: str | None, std: str | None, device: str, threads: int | None,
) -> "Target":  # fmt: skip
    import torch

    from gambeson.cli.target import resolve

    if threads is not None:
        if not 1 <= threads <= _most():
            raise UserError(f"--threads is {threads}; it must be 1 to {_most()} on this machine")
        torch.set_num_threads(threads)
    return resolve(
        target, data=data, data_dir=data_dir, split=split, every=every, limit=limit, out=out, weights=weights,
        mean=mean, std=std, device=device,
    )  # fmt: skip


def _most() -> int:
    """Threads or processes beyond which nothing is gained, and the system itself may run out of them."""
    return 8 * (os.cpu_count() or 1)


def _check_engine(name: str, workers: int | None, ray_address: str | None) -> None:
    if name not in ("local", "ray"):
        raise UserError(f"--engine is {name!r}; it must be local or ray")
    if workers is not None and (workers < 1 or (name == "local" and workers > _most())):
        raise UserError(f"--workers is {workers}; it must be 1 to {_most()} on this machine")
    if ray_address is not None and name != "ray":
        raise UserError(f"--ray-address {ray_address} goes with --engine ray")


def _engine(name: str, workers: int | None, ray_address: str | None, plan: "Evaluation") -> "Engine":
    from gambeson.engines import here
    from gambeson.engines.local import Local
    from gambeson.engines.ray_cluster import RayCluster
    from gambeson.inference import Form

    if name == "ray":
        return RayCluster(Form(**plan.settings["form"]), ray_address, workers)
    return here if workers in (None, 1) else Local(workers)


def inference_form(dtype: str, memory: str | None, batch: int, device: str) -> Any:
    import torch

    from gambeson.cli.target import pick_device
    from gambeson.inference import Form

    if memory is None and (dtype, batch) == ("float32", Form.batch):
        return None  # the evaluation's own choice, which tries contiguous where channels_last fails
    return Form(dtype, memory or "channels_last", batch, torch.get_num_threads(), pick_device(device))  # type: ignore[arg-type]


def trained_noise(run: "Run") -> str:
    """The noise that a run was trained with, as its header says."""
    settings = run.header["method_settings"] or {}
    if not isinstance(settings.get("sigma"), int | float):
        trained = f"with sigma {settings['sigma']}" if "sigma" in settings else "without noise"
        raise UserError(f"{run.path} was trained {trained}: say which noise to certify with, --noise gaussian:0.5")
    return f"{settings.get('noise', 'gaussian')}:{settings['sigma']}"


def _clean(target: "Target") -> None:
    """Natural accuracy belongs beside every other number; it costs next to nothing."""
    from gambeson.cli.target import record
    from gambeson.evaluation import clean

    evaluation = clean(target.model, target.data)
    for flag in evaluation.flags:
        typer.echo(f"doubt: {flag.message}", err=True)
    records = target.run.records(record(target, evaluation, "clean"))
    typer.echo(f"natural accuracy {sum(r['correct'] for r in records) / len(records):.3f} ({len(records)} images)")


def _tell_attack(target: "Target", evaluation: str, title: str) -> None:
    records = target.run.records(evaluation)
    correct, abstained = sum(r["correct"] for r in records), sum(r["predict"] == -1 for r in records)
    wrong = len(records) - correct - abstained
    counts = (("correct", correct), ("wrong", wrong), ("abstained", abstained))
    shares = ", ".join(f"{name} {count / len(records):.3f}" for name, count in counts)
    if records[0]["target"] is not None:
        shares += f", reached the target {sum(r['success'] for r in records) / len(records):.3f}"
    typer.echo(f"{title}: {shares} ({len(records)} images)")


def _tell_certified(target: "Target", evaluation: str, title: str, at: list[float]) -> None:
    records = target.run.records(evaluation)
    for name, _ in _one_sided(records[0]["radii"]):
        radii = [r["radii"][name] if r["correct"] else -1.0 for r in records]
        shares = ((least, sum(radius >= least for radius in radii) / len(radii)) for least in at)
        row = "  ".join(f"{least:g}: {share:.3f}" for least, share in shares)
        typer.echo(f"{title} {name}, certified accuracy at radius  {row}")


def _one_sided(radii: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, radius) for name, radius in radii.items() if not name.endswith("_two_sided")]
