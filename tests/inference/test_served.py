"""Served models: frozen copies in one form, the same in every process; the model itself is not changed."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config

from gambeson import models
from gambeson.errors import UserError
from gambeson.inference import Float32Head, Form, serve


def form(dtype: str = "float32", memory: str = "contiguous", batch: int = 8) -> Form:
    return Form(dtype, memory, batch, torch.get_num_threads(), "cpu")  # type: ignore[arg-type]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 5)
    )


def images(count: int = 3, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


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


class Strides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor(x.stride(), dtype=torch.float32).expand(len(x), 4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
@pytest.mark.parametrize("channels", [1, 3])
def test_kernels_see_one_layout_however_the_images_come(dtype: str, memory: str, channels: int) -> None:
    """What is sampled is then what was tried: with one channel, torch takes both layouts for the same."""
    made, given = form(dtype, memory), images(8, (channels, 8, 8))
    sampled = made.zeros((channels, 8, 8), 3)[8:16]
    ways = (sampled, given, given.to(sampled.dtype), given.contiguous(memory_format=torch.channels_last))
    seen = {tuple(serve(Strides(), made)(way)[0].tolist()) for way in ways}
    assert seen == {tuple(map(float, sampled.stride()))}


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
    [
        ({"dtype": "float16"}, "float32, bfloat16"),
        ({"memory": "nhwc"}, "channels_last"),
        ({"batch": 0}, "must be 1 to 65536"),
        ({"device": "cuda:1"}, "cpu, cuda"),
    ],
)
def test_forms_that_do_not_exist(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Form(**change)


def test_the_threads_of_a_form_are_set_while_it_is_used_and_then_put_back() -> None:
    """What is recorded must be what was sampled."""
    seen: list[int] = []

    def spy(x: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        return x.flatten(1)

    before = torch.get_num_threads()
    serve(spy, Form("float32", "contiguous", 8, before + 1))(images(8))
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


needs_compiler = pytest.mark.skipif(not which("g++"), reason="torch.compile needs a C++ compiler")


@pytest.mark.parametrize(
    "extra",
    [{}, {"folded": True}, pytest.param({"compiled": True}, marks=needs_compiler)],
    ids=["plain", "folded", "compiled"],
)
def test_another_process_gets_the_same_function_and_it_is_the_models(extra: dict) -> None:
    model = small().eval()
    served = serve(model, Form("bfloat16", "channels_last", 8, **extra))
    sent = pickle.loads(pickle.dumps(served))
    assert sent.form == served.form
    assert torch.equal(sent(images(8)), served(images(8)))
    expected = model(images(8)).detach()
    assert torch.allclose(served(images(8)), expected, atol=0.05 * float(expected.abs().max()))


def test_a_process_compiles_as_many_forms_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, torch compiles 8 versions of a function, and then does without."""
    compiled = []

    def remember(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: Any) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=remember))
    for batch in range(2, 14):
        serve(small(), Form("float32", "contiguous", batch, 1, compiled=True))(images(batch))
    assert len(compiled) == 12


@needs_compiler
@pytest.mark.skipif(not hasattr(config, "deterministic"), reason="this torch always times kernels on a GPU")
def test_no_kernel_that_sums_otherwise_is_chosen_by_timing() -> None:
    """Asked while the compiler is at work; what else is compiled in this process is compiled as it was."""
    asked = []
    with config.patch(post_grad_custom_pre_pass=lambda graph: asked.append(config.deterministic)):
        serve(small(), Form("float32", "contiguous", 8, 1, compiled=True))(images(8))
    assert asked == [True]
    assert not config.deterministic


FRESH = """
import torch
from gambeson import models
from gambeson.inference import Form, serve

torch.manual_seed(0)
model = models.build("digits_cnn", classes=10, shape=(1, 8, 8)).eval()
print(serve(model, Form(batch=8, threads=1, compiled=True))(torch.rand(8, 1, 8, 8)).numpy().tobytes().hex())
"""


@pytest.mark.long
@needs_compiler
def test_a_model_that_is_compiled_again_by_another_process_answers_the_same(tmp_path: Path) -> None:
    """Neither process has a cache that the other one filled."""
    answers = set()
    for cache in ("first", "second"):
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / cache)}
        done = subprocess.run(
            [sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    assert len(answers) == 1
    assert answers != {""}


def legacy() -> None:
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = False


def recent() -> None:
    torch.backends.fp32_precision = "bf16"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


PROGRAM = """
import sys
import torch
sys.path[:0] = {path!r}
import test_served
from gambeson.inference.switches import SWITCHES
seen = []
def state():
    switches = [getattr(place, name) for place, name, _ in SWITCHES]
    return [*switches, torch.is_autocast_enabled("cpu"), torch.get_num_threads()]
class Watched(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = test_served.small()
    def forward(self, x):
        seen.append([str(value).replace("none", "ieee") for value in state()])
        return self.inner(x)
images = test_served.images(8)
served = test_served.serve(Watched(), test_served.form({dtype!r}))
expected = served(images)
with torch.autocast("cpu", torch.bfloat16):
    assert torch.equal(served(images), expected)
    assert torch.is_autocast_enabled("cpu")
test_served.{setting}()
torch.backends.cudnn.benchmark = True
torch.backends.mkldnn.enabled = False
torch.set_num_threads(torch.get_num_threads() + 1)
before = state()
assert torch.equal(served(images), expected)
assert state() == before
assert len(seen) == 3 and seen[0] == seen[1] == seen[2], seen
"""


@pytest.mark.parametrize("setting", ["legacy", "recent"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_program_has_set_for_all_of_torch_does_not_reach_a_served_model(dtype: str, setting: str) -> None:
    """Workers and services have not set the same; and whoever set it finds it again. In a process of its own: torch
    does not forget that the two ways of setting it were mixed.
    """
    program = PROGRAM.format(path=[str(Path(__file__).parent), *sys.path], dtype=dtype, setting=setting)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
