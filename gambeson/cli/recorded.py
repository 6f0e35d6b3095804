"""An evaluation on its way into a run folder, with progress."""

import shlex
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gambeson.cli.progress import progress
from gambeson.cli.target import Target
from gambeson.engines import Engine, here
from gambeson.evaluation import Evaluation
from gambeson.machine import kind_of_machine
from gambeson.models.modes import device_of


def record(
    target: Target,
    evaluation: Evaluation,
    title: str,
    start: Callable[[str], tuple[Engine, float | None] | None] = lambda name: None,
    watch: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> str:
    """Write every record that is not there yet; returns the evaluation's id. `start` is told the id first and
    says where the work is done (None: in this process) and how many draws that will take, if it knows; `watch` is shown
    every record, those that were there before first, and says what progress is told.
    """
    watch = watch or accuracy()
    with target.run.writing() as writer:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        form = evaluation.settings.get("form") or {}
        if evaluation.kind in ("attacked", "diagnosed"):  # their gradients are not computed in the form that judges
            form = {**form, "threads": torch.get_num_threads()}
        machine = machine_of(target.model, form)
        flags = [{"flag": flag.name, "message": flag.message} for flag in evaluation.flags]
        writing = writer.evaluation(
            evaluation.kind, evaluation.settings, target.describe(), len(target.data), command(), now, machine, flags
        )
        engine, draws = start(writing.id) or (here, None)
        done, partial, told = len(writing.done), writing.partial, dict[str, Any]()
        for line in target.run.records(writing.id):
            told = watch(line)
        with progress(title, len(target.data), done=done, draws=draws) as tick:

            def tell(note: str = "", **amounts: int) -> None:
                told.update(amounts, **({"note": note} if note else {}))
                tick(done, **told)

            lines = evaluation.records(set(writing.done), engine, partial.read(), partial.keep, tell)
            with closing(lines):  # an engine's processes leave with it, wherever a Ctrl-C comes
                for line in lines:
                    writing.append(line)
                    done += 1
                    tell(**watch(line))
        partial.forget()
    return writing.id


def machine_of(model: nn.Module, form: dict[str, Any]) -> dict[str, Any]:
    """What the last bits of the model's logits and of the noise depend on here, beside the form."""
    device, threads = device_of(model), form.get("threads", torch.get_num_threads())
    return {"device": device.type, "threads": threads, **kind_of_machine(str(device), form.get("compiled", False))}


def accuracy() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Shown record by record, says the share of them that is correct."""
    seen = correct = 0

    def watch(line: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen, correct
        seen, correct = seen + 1, correct + line["correct"]
        return {"note": f"correct {correct / seen:.3f}"}

    return watch


def command() -> str:
    """The command as it was typed, but for the folders that it ran in."""
    return shlex.join(["gambeson", *(Path(word).name if word.startswith("/") else word for word in sys.argv[1:])])
