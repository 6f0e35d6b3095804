"""Eligible forms: honest models' rows are independent and alike in every form; models that cheat are noticed."""

from itertools import product
from shutil import which

import pytest
import torch
from torch import Tensor, nn

from gambeson import models
from gambeson.inference import Form, serve
from gambeson.inference.eligible import (
    calls_are_alike,
    ends_in_float32,
    positions_are_alike,
    refusal,
    rows_are_independent,
    unlike,
)


def form(dtype: str = "float32", memory: str = "contiguous", batch: int = 8, **extra) -> Form:
    return Form(dtype, memory, batch, torch.get_num_threads(), "cpu", **extra)  # type: ignore[arg-type]


def images(count: int = 3, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


class Mixing(nn.Module):
    """A linear model whose rows see each other through `mix`."""

    def __init__(self, mix) -> None:
        super().__init__()
        self.inner, self.mix = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), mix

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.inner(x))


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
FORMS = [
    pytest.param(
        dtype,
        memory,
        {"folded": folded, "compiled": compiled},
        id=f"{dtype}-{memory}-{folded}-{compiled}",
        marks=[pytest.mark.skipif(compiled and not which("g++"), reason="torch.compile needs a C++ compiler")],
    )
    for dtype, memory, folded, compiled in product(
        ("float32", "bfloat16"), ("contiguous", "channels_last"), (False, True), (False, True)
    )
]
# Compiling takes long: two of its forms on every change, all of them among the long tests.
QUICK = [form for form in FORMS if form.id.endswith(("False", "channels_last-True-True"))]


def honest(name: str, shape: tuple[int, int, int], form: Form) -> None:
    torch.manual_seed(0)
    model = models.build(name, classes=10, shape=shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.Linear):  # one begins with zeros, and logits that are all 0 have few digits
            nn.init.normal_(module.weight, std=0.1)
    served = serve(model, form)
    noisy = (images(3, shape) + 0.5 * torch.randn(3, *shape)).to(form.device)
    assert rows_are_independent(served, noisy)
    assert positions_are_alike(served, noisy)
    assert calls_are_alike(served, noisy)
    assert ends_in_float32(served, noisy)
    assert unlike(served, noisy) is None


@pytest.mark.parametrize(("dtype", "memory", "extra"), QUICK)
def test_rows_of_honest_models_are_independent_and_alike(dtype: str, memory: str, extra: dict) -> None:
    name, shape = ("digits_cnn", (1, 8, 8)) if extra["compiled"] else ("resnet20", (3, 8, 8))
    honest(name, shape, form(dtype, memory, 9, **extra))


@pytest.mark.long
@pytest.mark.parametrize(
    ("batch", "threads", "device"),
    [
        (64, 1, "cpu"),
        (201, 1, "cpu"),
        (50, 2, "cpu"),
        (400, 2, "cpu"),
        pytest.param(100, 1, "cuda", marks=NEEDS_CUDA),
        pytest.param(201, 1, "cuda", marks=NEEDS_CUDA),
    ],
)
@pytest.mark.parametrize(
    ("name", "shape"), [("lenet", (1, 28, 28)), ("smallcnn", (1, 28, 28)), ("resnet20", (3, 32, 32))]
)
@pytest.mark.parametrize(("dtype", "memory", "extra"), FORMS)
def test_real_models_too(
    name: str,
    shape: tuple[int, int, int],
    dtype: str,
    memory: str,
    extra: dict,
    batch: int,
    threads: int,
    device: str,
) -> None:
    honest(name, shape, Form(dtype, memory, batch, threads, device, **extra))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "mix",
    [
        nn.BatchNorm1d(5, track_running_stats=False),
        nn.Softmax(0),
        lambda z: z - z.mean(0),
        lambda z: z + 1e-6 * z[0],
        lambda z: z + z.roll(1, 0),
        lambda z: z.sort(0).values,
    ],
    ids=[
        "batch norm in batch mode",
        "softmax over the batch",
        "centred",
        "a little of row 0",
        "its neighbour",
        "sorted",
    ],
)
def test_models_that_mix_rows_are_noticed(mix) -> None:
    torch.manual_seed(0)
    assert not rows_are_independent(serve(Mixing(mix), form()), images())
    assert rows_are_independent(serve(Mixing(nn.Identity()), form()), images())


def test_a_mixed_row_is_noticed_wherever_it_is() -> None:
    """Only the last row is spoilt by the first."""

    def mix(z: Tensor) -> Tensor:
        return torch.cat([z[:-1], z[-1:] + z[:1]])

    assert not rows_are_independent(serve(Mixing(mix), form()), images())


class ByRow(nn.Module):
    """A linear model with a little of the row's number added to its logits."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.inner, self.amount = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), amount

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.amount * torch.arange(len(x))[:, None]


def test_logits_that_depend_on_the_row_are_noticed() -> None:
    torch.manual_seed(0)
    by_row = serve(ByRow(1e-5), form())
    assert not positions_are_alike(by_row, images())
    assert rows_are_independent(by_row, images())
    assert positions_are_alike(serve(ByRow(0.0), form()), images())


def test_logits_in_bf16_are_noticed() -> None:
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten())
    assert not ends_in_float32(serve(convolution, form("bfloat16")), images())
    assert ends_in_float32(serve(convolution, form("float32")), images())
    assert ends_in_float32(serve(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), form("bfloat16")), images())


class Off(nn.Module):
    """A linear model, and its copies, to which something is done."""

    def __init__(self, done, copied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.done, self.copied = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), done, copied

    def __deepcopy__(self, memo: object) -> "Off":
        return Off(self.done, copied=not self.copied)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.inner(x)
        return logits if self.copied else self.done(logits)  # what is served is the copy of a copy


@pytest.mark.parametrize(
    ("done", "share"),
    [
        (lambda z: z + 7, None),  # the same for all classes: no class wins by it
        (lambda z: z * 1.001, None),
        (lambda z: z * 1.05, "5.0%"),
        (lambda z: -z, "200.0%"),
        (lambda z: z.index_fill(1, torch.tensor([0]), torch.nan), "nan%"),
        (lambda z: z.index_fill(1, torch.tensor([0]), torch.inf), "nan%"),
    ],
)
def test_logits_that_are_not_the_models_are_noticed(done, share: str | None) -> None:
    why = unlike(serve(Off(done), form()), images())
    assert (why is None) == (share is None)
    assert share is None or f"by {share} of their spread, more than 0.8%" in why


def test_a_model_that_knows_only_one_answer_or_none_is_like_itself() -> None:
    for value in (3.0, torch.nan):
        constant = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
        nn.init.zeros_(constant[1].weight)
        nn.init.constant_(constant[1].bias, value)
        assert unlike(serve(constant, form("bfloat16")), images()) is None


def test_a_model_that_depends_on_where_its_images_begin_is_noticed() -> None:
    """As kernels that cut memory by its alignment may: sampling gives a call a part of what it filled."""

    class Aligned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.flatten(1)) + (x.data_ptr() % 64 != 0)

    torch.manual_seed(0)
    few, many = (serve(Aligned(), form("bfloat16", batch=batch)) for batch in (5, 8))  # 160 and 256 bytes a call
    assert not calls_are_alike(few, images(shape=(1, 4, 4)))
    assert "where in memory" in str(refusal(few, images(shape=(1, 4, 4))))
    assert calls_are_alike(many, images(shape=(1, 4, 4)))


@pytest.mark.parametrize("short", [torch.bfloat16, torch.float16])
def test_logits_of_sixteen_bits_are_refused_in_every_form(short: torch.dtype) -> None:
    torch.manual_seed(0)
    served = serve(Mixing(lambda z: z.to(short)), form())
    assert "its logits have 16 bits" in str(refusal(served, images()))
    assert refusal(serve(Mixing(nn.Identity()), form()), images()) is None
