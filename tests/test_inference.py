"""Inference forms: an honest model's rows are independent, a model that mixes them is noticed, none is changed."""

import pytest
import torch
from torch import Tensor, nn

from gambeson import models
from gambeson.errors import UserError
from gambeson.inference import Float32Head, Form, rows_are_independent, serve


def form(dtype: str = "float32", memory: str = "contiguous", batch: int = 8) -> Form:
    return Form(dtype, memory, batch, torch.get_num_threads(), "cpu")  # type: ignore[arg-type]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 5)
    )


def images(count: int = 3, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


class Mixing(nn.Module):
    """A linear model whose rows see each other through `mix`."""

    def __init__(self, mix) -> None:
        super().__init__()
        self.inner, self.mix = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), mix

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.inner(x))


@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("name", "shape"), [("lenet", (1, 28, 28)), ("digits_cnn", (1, 8, 8)), ("resnet20", (3, 32, 32))]
)
def test_rows_of_honest_models_are_independent(name: str, shape: tuple[int, int, int], memory: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, classes=10, shape=shape)
    assert rows_are_independent(serve(model, form(memory=memory)), images(2, shape))


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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
def test_the_model_is_left_as_it_was_found(dtype: str, memory: str) -> None:
    model = small().train()
    model[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    served = serve(model, form(dtype, memory))
    served(images(8))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert all(module.training for module in model.modules())
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in model.parameters())


def test_served_models_are_frozen_copies_in_evaluation_mode() -> None:
    model = small()
    served = serve(model, form())
    expected = model.eval()(images(8))
    assert torch.equal(served(images(8)), expected)
    with torch.no_grad():
        model[0].weight.zero_()
    assert torch.equal(served(images(8)), expected)
    assert not served(images(8)).requires_grad


@pytest.mark.parametrize("name", ["lenet", "digits_cnn", "resnet20"])
def test_bf16_models_end_in_float32(name: str) -> None:
    """Logits in bf16 have 8 bits, hence ties, and a tie hides which class won."""
    torch.manual_seed(0)
    shape = (1, 28, 28) if name == "lenet" else (1, 16, 16)
    model = models.build(name, classes=10, shape=shape).eval()
    x = images(200, shape)
    served = serve(model, form("bfloat16", "channels_last", 200))
    logits = served(x)
    assert logits.dtype == torch.float32
    assert sum(isinstance(module, Float32Head) for module in served.function.modules()) == 1  # type: ignore[union-attr]
    assert not torch.equal(logits, logits.bfloat16().float())

    top = logits.topk(2, 1).values
    assert (top[:, 0] != top[:, 1]).all()
    with torch.no_grad():
        expected = model(x)
    assert torch.allclose(logits, expected, atol=0.05 * float(expected.abs().max()))


def test_a_linear_model_is_its_own_head() -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    assert not torch.equal(
        serve(head, form("bfloat16"))(images(8)), serve(head, form("bfloat16"))(images(8)).bfloat16().float()
    )


@pytest.mark.parametrize("rows", [0, 1, 7, 9])
def test_a_served_model_is_called_with_its_number_of_rows_only(rows: int) -> None:
    with pytest.raises(ValueError, match="exactly 8 rows"):
        serve(small(), form())(images(rows))


def test_plain_callables_are_served_as_they_are() -> None:
    served = serve(lambda x: x.flatten(1)[:, :3], form())
    assert torch.equal(served(images(8)), images(8).flatten(1)[:, :3])
    for wrong in (form("bfloat16"), form(memory="channels_last")):
        with pytest.raises(UserError, match="float32, contiguous"):
            serve(lambda x: x, wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dtype": "float16"}, "float32, bfloat16"), ({"memory": "nhwc"}, "channels_last"), ({"batch": 0}, "at least 1")],
)
def test_forms_that_do_not_exist(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Form(**change)


def test_a_form_with_other_threads_than_there_are_is_refused() -> None:
    """What is recorded must be what was sampled."""
    wrong = Form("float32", "contiguous", 8, torch.get_num_threads() + 1, "cpu")
    with pytest.raises(UserError, match=r"torch\.set_num_threads"):
        serve(small(), wrong)
