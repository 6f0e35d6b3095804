"""How a model is called: what the last bits of its logits depend on, beside its weights and the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from threading import RLock
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.inference.switches import as_torch_has_them
from gambeson.machine import DEVICES

Dtype = Literal["float32", "bfloat16"]
Memory = Literal["contiguous", "channels_last"]
MAX_BATCH = 2**16
_ALONE = RLock()


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
        """While the form is used: as many threads as it has, no autocast, and torch's switches as torch has them.
        Logits depend on all of these, which are the whole program's: its other threads wait with their forms.
        """
        with _ALONE:
            before = torch.get_num_threads()
            if before != self.threads:
                torch.set_num_threads(self.threads)
            try:
                with as_torch_has_them(self.device):
                    yield
            finally:
                if before != self.threads:
                    torch.set_num_threads(before)

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.memory == "channels_last" else torch.contiguous_format
