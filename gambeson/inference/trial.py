"""The fastest form of a model on this machine, by a short measured trial.

Number format and layout first, then the rows of a call, threads, and torch.compile where the work ahead is long enough
to pay for it. What it finds depends on the clock, so it is asked once and its answer is kept with the run.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import inf
from time import perf_counter
from typing import Any, get_args

import torch
from torch import Tensor, nn

from gambeson.errors import UserError, first_line, out_of_memory
from gambeson.inference.eligible import positions_are_alike, refusal, unlike
from gambeson.inference.fold import foldable
from gambeson.inference.form import Dtype, Form, Memory
from gambeson.inference.rate import images_per_second
from gambeson.inference.served import serve
from gambeson.types import Classifier

PATIENCE = 20.0  # no further form is tried after so many seconds, compiling apart
GAIN = 1.05  # what differs less is taken for noise
MOST_ROWS = 8192  # of a call: to a model that takes next to no time any doubling is a gain, until the memory is full
TRIAL_FROM = 10.0  # seconds of work ahead in the plain form, below which no other is tried
PROCESSES_FROM = 30.0  # seconds of work ahead in one process, from which starting others pays
COMPILE_FROM = 120.0  # seconds of work ahead from which compiling for some 10 to 30, here and in workers, may pay


@dataclass(frozen=True)
class Asked:
    """What the user decides; None leaves it to the trial."""

    dtype: Dtype | None = None
    memory: Memory | None = None
    batch: int | None = None
    threads: int | None = None
    compiled: bool | None = None

    def __post_init__(self) -> None:
        for name, value in (("batch", self.batch), ("threads", self.threads)):
            if value is not None and value < 1:
                raise UserError(f"form {name} is {value}; it must be at least 1")


@dataclass(frozen=True)
class Tried:
    """A form and how many images a second it took, or why it cannot be used."""

    form: Form
    images_per_second: float | None
    refused: str | None = None

    def record(self) -> dict[str, Any]:
        return {**self.form.settings(), "images_per_second": self.images_per_second, "refused": self.refused}


@dataclass(frozen=True)
class Trial:
    """The form to use, and all that were tried."""

    form: Form
    tried: tuple[Tried, ...]


def choose(
    model: Classifier,
    images: Tensor,
    *,
    asked: Asked | None = None,
    device: str = "cpu",
    draws: int = 0,
    alone: bool = False,
) -> Trial:
    """The fastest eligible form of `model`, among those that are as `asked`.

    images: float (N, C, H, W), N >= 2, to try it on: noisy ones, as it will see. draws: how many noisy images are
    ahead; if they take only seconds, the first form that runs will do, and if minutes, compiling is tried too. alone:
    no other process shares the work. A form that does not fit into memory is tried with half the rows. Forms in which
    an image's logits depend on its row are taken only where there is no other. Raises UserError where the model can be
    used in no form, or in none that may be sampled.
    """
    search = _Search(model, images.to(device), asked or Asked())
    search.kinds(device, draws)
    if search.seconds(draws) > TRIAL_FROM:
        if not alone:
            search.threads(draws)
        search.batches()
        search.compiling(draws)
    return Trial(search.eligible(), tuple(search.tried))


class _Search:
    """What has been tried so far, the best of it, and what to try next."""

    def __init__(self, model: Classifier, images: Tensor, asked: Asked) -> None:
        self.model, self.images, self.asked = model, images, asked
        self.tried: list[Tried] = []
        self.shares = 1  # processes of one thread that share the work, if the form has one
        self.end = perf_counter() + PATIENCE

    def kinds(self, device: str, draws: int) -> None:
        """Number formats and layouts; folded wherever the model can be."""
        module, asked = isinstance(self.model, nn.Module), self.asked
        dtypes = [asked.dtype] if asked.dtype else get_args(Dtype) if module else ("float32",)
        memories = [asked.memory] if asked.memory else get_args(Memory)[::-1] if module else ("contiguous",)
        threads = asked.threads or torch.get_num_threads()
        for dtype, memory in product(dtypes, memories):
            form = Form(dtype, memory, asked.batch or Form.batch, threads, device, compiled=bool(asked.compiled))
            folded = foldable(self.model) and self.add(replace(form, folded=True))
            if not folded:
                self.add(form)
            if self.seconds(draws) <= TRIAL_FROM:
                return
        if self.best is None:
            why = "; ".join(f"{tried.form}: {tried.refused}" for tried in self.tried)
            raise UserError(f"the model can be used in no form that was tried ({why})")

    def batches(self) -> None:
        """Twice the rows while that pays; where it does not at once, a half, a quarter or an eighth of them."""
        if self.asked.batch is None and self.best is not None:
            start, rows = self.best.form, 2 * self.best.form.batch
            while rows <= MOST_ROWS and self.add(replace(start, batch=rows), better=True):
                rows *= 2
            if self.best.form == start:
                for parts in (2, 4, 8):
                    self.add(replace(start, batch=start.batch // parts), better=True)

    def threads(self, draws: int) -> None:
        """All threads in one process, or one in each of as many processes, where the work is worth starting them."""
        best = self.best
        if self.asked.threads is not None or best is None or best.form.device != "cpu":
            return
        if best.form.threads > 1 and self.seconds(draws) > PROCESSES_FROM:
            self.shares = best.form.threads
            self.add(replace(best.form, threads=1))

    def compiling(self, draws: int) -> None:
        may = self.asked.compiled is None and isinstance(self.model, nn.Module)
        if may and self.best is not None and self.seconds(draws) > COMPILE_FROM:
            self.end = perf_counter() + PATIENCE
            self.add(replace(self.best.form, compiled=True))

    def seconds(self, draws: int) -> float:
        """How long the work takes in the best form so far."""
        return draws / self.rate(self.best) if self.best is not None else inf

    def rate(self, tried: Tried) -> float:
        """Images a second, of all processes."""
        return (tried.images_per_second or 0.0) * (self.shares if tried.form.threads == 1 else 1)

    def eligible(self) -> Form:
        """The fastest form that may be sampled; `images` are seen by each that is looked at."""
        mixture = None
        while (best := self.best) is not None:
            too_large = False
            try:
                served = serve(self.model, best.form)
                why = refusal(served, self.images)
                if why is None and not positions_are_alike(served, self.images):
                    why, mixture = "an image's logits depend on its row", mixture or best.form
            except Exception as error:
                if not (too_large := out_of_memory(error)):
                    raise
                why = first_line(error)
            if why is None:
                return best.form
            self.tried[self.tried.index(best)] = replace(best, refused=why)
            if too_large:
                self.add(replace(best.form, batch=best.form.batch // 2))
        if mixture is not None:
            return mixture
        raise UserError(
            f"{self.tried[0].form} is not eligible: {self.tried[0].refused}; no other form that was tried is. Remove "
            "from the model what mixes the images of a batch, or ask for another form (--dtype float32, --memory "
            "contiguous, another --batch)"
        )

    @property
    def best(self) -> Tried | None:
        usable = [tried for tried in self.tried if tried.refused is None]
        return max(usable, key=self.rate, default=None)

    def add(self, form: Form, better: bool = False) -> bool:
        """Try a form, with half the rows as long as it does not fit into memory. Whether it can be used; `better`:
        and is faster than any other.
        """
        if form.batch < 1 or (self.best is not None and perf_counter() > self.end):
            return False
        before, rate, too_large = self.best, None, False
        try:
            served = serve(self.model, form)
            why = unlike(served, self.images)
            rate = None if why else images_per_second(served, self.images)
        except Exception as error:
            why, too_large = first_line(error), out_of_memory(error)
        if rate is not None and better and before is not None and rate < GAIN * (before.images_per_second or 0.0):
            why = "no faster"
        self.tried.append(Tried(form, rate, why))
        if too_large and not better:
            return self.add(replace(form, batch=form.batch // 2))
        return why is None
