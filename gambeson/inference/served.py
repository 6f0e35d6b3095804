"""A model as it is sampled and served, to the last bit.

A certificate is about the function that was sampled: its number format, memory layout, call shape, threads and device.
That form is chosen once, stored with the evaluation and reused by resume and prediction; what a program has set for all
of torch does not reach it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.inference.fold import fold
from gambeson.inference.form import Form
from gambeson.models.black_box import BlackBox
from gambeson.types import Classifier

Positions = Literal["alike", "mixture"]
VERSIONS = 10_000  # that one process may compile


@dataclass(frozen=True, eq=False)
class Served:
    """A frozen copy of a model in a form: float images (batch, C, H, W) on the form's device -> float32 logits
    (batch, K).

    positions: "alike" where a row's number does not matter. Otherwise the base classifier is the mixture over the rows
    of a call, and each image must fill all of them equally often.
    """

    form: Form
    function: Classifier
    source: Classifier
    positions: Positions = "alike"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        if len(images) != self.form.batch:
            raise ValueError(f"a served model is called with exactly {self.form.batch} rows, got {len(images)}")
        with self.form.pinned():
            return self.function(self.form.laid_out(images)).float()

    def __reduce__(self) -> tuple[Callable[..., "Served"], tuple[Any, ...]]:
        """Other processes are sent the model and make the form themselves: compiled code cannot be sent."""
        return serve, (self.source, self.form, self.positions)


class Float32Head(nn.Module):
    """The last linear layer, in float32: bf16 logits tie often, and a tie hides which class won."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.float()

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features.float())


def serve(model: Classifier, form: Form, positions: Positions = "alike") -> Served:
    """A frozen, eval-mode copy of `model` in `form`; the model itself is left as it was found.

    A callable that is not an `nn.Module` is used as it is and must be float32, contiguous, neither folded nor compiled.
    """
    if not isinstance(model, nn.Module):
        if (form.dtype, form.memory, form.folded, form.compiled) != ("float32", "contiguous", False, False):
            raise UserError("a model that is not a torch.nn.Module can only be served as float32, contiguous")
        return Served(form, model, model, positions)
    source = copy.deepcopy(model).eval().requires_grad_(False)
    served = copy.deepcopy(source).to(form.device)
    if form.folded:
        served = fold(served)
    if form.memory == "channels_last":
        served = served.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if form.dtype == "bfloat16":
        served = _with_float32_head(served.to(torch.bfloat16))
    return Served(form, _compiled(served) if form.compiled else served, source, positions)


def _compiled(model: nn.Module) -> Classifier:
    """For one shape. No kernel whose sums depend on it is chosen by timing: every process must get the same ones."""
    # All forms of all models are versions of one function to torch. After 8 of them it would no longer compile, and the
    # function would be another one than the form says.
    for part in model.modules():
        if isinstance(part, BlackBox):  # what answers may be no PyTorch at all
            part.forward = torch.compiler.disable(part.forward)  # type: ignore[method-assign]
    for limit in ("cache_size_limit", "accumulated_cache_size_limit"):
        setattr(torch._dynamo.config, limit, max(VERSIONS, getattr(torch._dynamo.config, limit)))
    from torch._inductor import config  # takes long, and only compiled forms need it

    # By default, several ways to sum are timed on a GPU; an older torch knows no other way.
    options: dict[str, Any] | None = {"deterministic": True} if hasattr(config, "deterministic") else None
    compiled: Classifier = torch.compile(model, dynamic=False, options=options)
    return compiled


def _with_float32_head(model: nn.Module) -> nn.Module:
    if isinstance(model, nn.Linear):
        return Float32Head(model)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if names:
        parent, _, child = names[-1].rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, child, Float32Head(owner.get_submodule(child)))  # type: ignore[arg-type]
    return model
