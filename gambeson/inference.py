"""The form in which a model is sampled and served.

A certificate is about the function that was sampled, to the last bit: its number format, memory layout, call
shape, threads and device. That form is chosen once, stored with the evaluation and reused by resume and
prediction. A form is eligible only if an image's logits do not change, bit for bit, when the other rows of its
call change: otherwise the classifier would depend on what else happens to be in the batch, and no statement about
one image would hold.
"""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.types import Classifier

Dtype = Literal["float32", "bfloat16"]
Memory = Literal["contiguous", "channels_last"]


@dataclass(frozen=True)
class Form:
    """How a model is called: always with `batch` rows, in `dtype`, laid out as `memory`, on `device` with
    `threads` threads.
    """

    dtype: Dtype = "float32"
    memory: Memory = "channels_last"
    batch: int = 200
    threads: int = field(default_factory=torch.get_num_threads)
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, value, allowed in (("dtype", self.dtype, get_args(Dtype)), ("memory", self.memory, get_args(Memory))):
            if value not in allowed:
                raise UserError(f"form {name} is {value!r}; it must be one of {', '.join(allowed)}")
        if self.batch < 1:
            raise UserError(f"form batch is {self.batch}; it must be at least 1")

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """A call's images, to be filled: (batch, *shape) in the format that the model computes in."""
        zeros = torch.zeros(self.batch, *shape, dtype=getattr(torch, self.dtype), device=self.device)
        return zeros.contiguous(memory_format=self.layout)

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.memory == "channels_last" else torch.contiguous_format


@dataclass(frozen=True, eq=False)
class Served:
    """A frozen copy of a model in a form: float images (batch, C, H, W) on the form's device -> float32 logits
    (batch, K).
    """

    form: Form
    function: Classifier

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        if len(images) != self.form.batch:
            raise ValueError(f"a served model is called with exactly {self.form.batch} rows, got {len(images)}")
        images = images.to(getattr(torch, self.form.dtype), memory_format=self.form.layout)
        return self.function(images).float()


class Float32Head(nn.Module):
    """The last linear layer, in float32: bf16 logits tie often, and a tie hides which class won."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.float()

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features.float())


def serve(model: Classifier, form: Form) -> Served:
    """A frozen, eval-mode copy of `model` in `form`; the model itself is left as it was found.

    A callable that is not an `nn.Module` is used as it is and must be float32 and contiguous.
    """
    if form.threads != torch.get_num_threads():
        raise UserError(
            f"form threads is {form.threads}, torch has {torch.get_num_threads()}, and the last bits of logits may "
            f"differ: --threads {form.threads}, or torch.set_num_threads({form.threads})"
        )
    if not isinstance(model, nn.Module):
        if (form.dtype, form.memory) != ("float32", "contiguous"):
            raise UserError("a model that is not a torch.nn.Module can only be served as float32, contiguous")
        return Served(form, model)
    served = copy.deepcopy(model).eval().requires_grad_(False).to(form.device)
    if form.memory == "channels_last":
        served = served.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if form.dtype == "bfloat16":
        served = _with_float32_head(served.to(torch.bfloat16))
    return Served(form, served)


def rows_are_independent(served: Served, images: Tensor) -> bool:
    """Whether each image's logits stay bit-identical when every other row of the call is replaced.

    `images`: at least 2 float images (n, C, H, W); each is tried in the first, a middle and the last row.
    """
    batch = served.form.batch
    rows = sorted({0, batch // 2, batch - 1})
    others = images.roll(1, 0)
    for image, other in zip(images, others, strict=True):
        for row in rows:
            first, second = image.expand(batch, *image.shape).clone(), other.expand(batch, *image.shape).clone()
            second[row] = image
            if not torch.equal(served(first)[row], served(second)[row]):
                return False
    return True


def _with_float32_head(model: nn.Module) -> nn.Module:
    if isinstance(model, nn.Linear):
        return Float32Head(model)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if names:
        parent, _, child = names[-1].rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, child, Float32Head(owner.get_submodule(child)))  # type: ignore[arg-type]
    return model
