"""What several commands take, and what they do with it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gambeson.errors import UserError

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.inference.trial import Asked

Where = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="Run folder, or package.module:factory, or weights file.")
]
Data = Annotated[str | None, typer.Option("--data", help="Data set (a run knows its own): mnist, folder:PATH, ...")]
DataDir = Annotated[Path | None, typer.Option(help="Where data is looked for first (then $GAMBESON_DATA, the cache).")]
Split = Annotated[str, typer.Option(help="Which images: test, validation to choose between models, or train.")]
Every = Annotated[int, typer.Option(help="Every k-th image, by its stable index.")]
Limit = Annotated[int | None, typer.Option(help="At most so many images.")]
Out = Annotated[Path | None, typer.Option(help="Run folder for a model that is not a run.")]
Factory = Annotated[
    str | None,
    typer.Option(
        metavar="PACKAGE.MODULE:FACTORY",
        help="What makes the model of a run folder that does not hold it (code that a folder names is not run).",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Weights for package.module:factory.")]
Mean = Annotated[str | None, typer.Option(help="Channel means, for a model that does not normalise itself.")]
Std = Annotated[str | None, typer.Option(help="Channel standard deviations, likewise.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Dtype = Annotated[str, typer.Option(help="Inference form: auto (the fastest of a short trial), float32 or bfloat16.")]
Memory = Annotated[str | None, typer.Option(help="Inference form: channels_last or contiguous (default: by trial).")]
Batch = Annotated[int | None, typer.Option(help="Inference form: noisy images in a call (default: by trial).")]
Threads = Annotated[int | None, typer.Option(help="Inference form: CPU threads (default: by trial).")]
Compile = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Inference form: torch.compile (default: by trial).")
]


def opened(
    target: str, data: str | None, data_dir: Path | None, split: str, every: int, limit: int | None, out: Path | None,
    factory: str | None, weights: Path | None, mean: str | None, std: str | None, device: str, threads: int | None,
) -> "Target":  # fmt: skip
    import torch

    from gambeson.cli.target import resolve

    if threads is not None:
        if not 1 <= threads <= most_workers():
            raise UserError(f"--threads is {threads}; it must be 1 to {most_workers()} on this machine")
        torch.set_num_threads(threads)
    return resolve(
        target, data=data, data_dir=data_dir, split=split, every=every, limit=limit, out=out, factory=factory,
        weights=weights, mean=mean, std=std, device=device,
    )  # fmt: skip


def most_workers() -> int:
    """Threads or processes beyond which nothing is gained, and the system itself may run out of them."""
    return 8 * (os.cpu_count() or 1)


def wishes(dtype: str, memory: str | None, batch: int | None, threads: int | None, compiled: bool | None) -> "Asked":
    """What the user decides about the inference form."""
    from gambeson.inference.trial import Asked

    return Asked(None if dtype == "auto" else dtype, memory, batch, threads, compiled)  # type: ignore[arg-type]


def natural(target: "Target") -> None:
    """Natural accuracy belongs beside every other number; it costs next to nothing."""
    from gambeson.cli.recorded import record
    from gambeson.evaluation import clean

    evaluation = clean(target.model, target.data)
    for flag in evaluation.flags:
        typer.echo(f"doubt: {flag.message}", err=True)
    records = target.run.records(record(target, evaluation, "clean"))
    typer.echo(f"natural accuracy {sum(r['correct'] for r in records) / len(records):.3f} ({len(records)} images)")
