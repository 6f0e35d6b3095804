"""How a model is called: what the last bits of its logits depend on, beside its weights and the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.machine import DEVICES

Dtype = Literal["float32", "bfloat16"]
Memory = Literal["contiguous", "channels_last"]
MAX_BATCH = 2**16
PLAIN = ("highest", False, True)  # torch's own `_switches`: of GPUs' sums, convolutions may be in TF32, products not


@dataclass(frozen=True)
class Form:
    """Always `batch` rows, in `dtype`, laid out as `memory`, on `device` with `threads` threads.

    folded: batch normalisation is multiplied into the convolutions before it. compiled: by torch.compile.
    """

    dtype: Dtype = "float32"
    memory: Memory = "channels_last"
    batch: int = 200
    threads: int = field(default_factory=torch.get_num_threads)
    device: str = "cpu"
    folded: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        choices = (("dtype", self.dtype, get_args(Dtype)), ("memory", self.memory, get_args(Memory)))
        for name, value, allowed in (*choices, ("device", self.device, DEVICES)):
            if value not in allowed:
                raise UserError(f"form {name} is {value!r}; it must be one of {', '.join(allowed)}")
        if not 1 <= self.batch <= MAX_BATCH:
            raise UserError(f"form batch is {self.batch}; it must be 1 to {MAX_BATCH}")

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        extras = [name for name in ("folded", "compiled") if getattr(self, name)]
        threads = f"{self.threads} thread" + "s" * (self.threads > 1)
        return ", ".join([self.dtype, self.memory, *extras, f"{self.batch} images a call", threads, self.device])

    def zeros(self, shape: tuple[int, ...], calls: int = 1) -> Tensor:
        """So many calls' images, to be filled: (calls * batch, *shape) in the format that the model computes in."""
        zeros = torch.zeros(calls * self.batch, *shape, dtype=getattr(torch, self.dtype), device=self.device)
        return zeros.contiguous(memory_format=self.layout)

    def laid_out(self, images: Tensor) -> Tensor:
        """A call's images as `zeros` has them, strides included: images of one channel are in both layouts at once, and
        which of them a kernel sees is a matter of the strides.
        """
        shape, dtype = images.shape, getattr(torch, self.dtype)
        like = torch.empty(shape, dtype=dtype, device="meta").contiguous(memory_format=self.layout)
        if images.dtype == dtype and images.stride() == like.stride():
            return images
        return self.zeros(tuple(shape[1:])).copy_(images)

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """While the form is used: its threads, no autocast, and torch's switches as they are by themselves, whatever
        the program around it has set. Logits depend on all of them.
        """
        before, wanted = (torch.get_num_threads(), *_switches()), (self.threads, *PLAIN)
        if before == wanted and not torch.is_autocast_enabled(self.device):
            yield
            return
        _set(*wanted)
        try:
            with torch.autocast(self.device, enabled=False):
                yield
        finally:
            _set(*before)

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.memory == "channels_last" else torch.contiguous_format


def _switches() -> tuple[str, bool, bool]:
    """How exact products of float32 are; whether a GPU's convolutions are chosen by timing, and may be in TF32."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32


def _set(threads: int, products: str, timing: bool, tf32: bool) -> None:
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = timing, tf32
