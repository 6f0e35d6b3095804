"""The trial: what the user asks for is kept, what may not be sampled is not chosen, memory that runs out is halved."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.inference import rate, served, trial
from gambeson.inference.trial import Asked, choose

MANY = 10**9  # draws: more than any machine makes in seconds


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "SECONDS", 0.002)
    monkeypatch.setattr(trial, "COMPILE_FROM", 1e12)
    monkeypatch.setattr(served, "_compiled", lambda model: model)


def images() -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


@pytest.mark.parametrize(
    "asked",
    [
        Asked(dtype="float32"),
        Asked(dtype="bfloat16"),
        Asked(memory="contiguous"),
        Asked(batch=37),
        Asked(threads=1),
        Asked(compiled=True, batch=8),
        Asked("bfloat16", "channels_last", 50, 1, False),
    ],
    ids=str,
)
def test_wishes_are_kept(asked: Asked) -> None:
    form = choose(small(), images(), asked=asked, draws=MANY).form
    for name in ("dtype", "memory", "batch", "threads", "compiled"):
        assert getattr(asked, name) in (None, getattr(form, name))


def test_the_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that prefers bfloat16, contiguous, 400 rows, unfolded forms being out of the question."""

    def rate(served, images: Tensor) -> float:
        form = served.form
        return 100.0 + 50 * (form.dtype == "bfloat16") + 20 * (form.memory == "contiguous") - abs(form.batch - 400) / 10

    monkeypatch.setattr(trial, "images_per_second", rate)
    found = choose(small(), images(), draws=MANY)
    assert (found.form.dtype, found.form.memory, found.form.batch) == ("bfloat16", "contiguous", 400)
    assert found.form.folded
    assert {"float32", "bfloat16"} == {tried.form.dtype for tried in found.tried}


def test_a_slow_machine_takes_the_first_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.0)
    with threads(2):
        found = choose(small(), images(), draws=MANY)
    assert [(tried.form, tried.refused) for tried in found.tried] == [(found.form, None)]


def test_rows_are_not_doubled_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "images_per_second", lambda served, images: float(served.form.batch))
    assert trial.MOST_ROWS / 2 < choose(small(), images(), draws=MANY).form.batch <= trial.MOST_ROWS


@pytest.mark.parametrize(("best", "found"), [(25, 25), (50, 50), (100, 100), (200, 200), (1600, 1600), (20, 25)])
def test_fewer_rows_are_tried_even_where_half_of_them_gain_nothing(best: int, found: int, monkeypatch) -> None:
    """A clock that knows one good number of rows: fewer than that are worse, and so are more, by little until twice."""

    def rate(served, images: Tensor) -> float:
        far = abs(math.log2(served.form.batch / best))
        return 1000 * (1.0 if far < 0.5 else 0.92 if served.form.batch > best else 0.8 / far)

    monkeypatch.setattr(trial, "images_per_second", rate)
    assert choose(small(), images(), asked=Asked(dtype="float32"), draws=MANY).form.batch == found


def test_little_work_is_not_worth_a_trial() -> None:
    found = choose(small(), images(), draws=1)
    assert (len(found.tried), found.form.dtype) == (1, "float32")


def test_work_for_minutes_is_worth_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "COMPILE_FROM", 100.0)
    monkeypatch.setattr(trial, "images_per_second", lambda served, images: 2e6 if served.form.compiled else 1e6)
    assert choose(small(), images(), draws=10**9).form.compiled
    assert not choose(small(), images(), draws=10**7).form.compiled
    assert not choose(small(), images(), asked=Asked(compiled=False), draws=10**9).form.compiled


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def of_python() -> None:
    raise MemoryError


def on_a_cpu() -> None:
    torch.empty(2**60, dtype=torch.uint8)


class Limited(nn.Module):
    """Has memory for 60 rows."""

    def __init__(self, run_out: Callable[[], None]) -> None:
        super().__init__()
        self.inner, self.run_out = small(), run_out

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 60:
            self.run_out()
        return self.inner(x)


@pytest.mark.parametrize("run_out", [on_a_gpu, of_python, on_a_cpu])
@pytest.mark.parametrize("asked", [Asked(), Asked(batch=200)], ids=["free", "asked for too many"])
@pytest.mark.parametrize("draws", [1, MANY])
def test_too_many_rows_for_the_memory_are_halved(
    run_out: Callable[[], None], asked: Asked, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock to which all forms that run are alike."""

    def rate(served, images: Tensor) -> float:
        served(images[:1].expand(served.form.batch, -1, -1, -1))
        return 1000.0

    monkeypatch.setattr(trial, "images_per_second", rate)
    found = choose(Limited(run_out), images(), asked=replace(asked, dtype="float32"), draws=draws)
    assert found.form.batch == 50
    assert any("emory" in (tried.refused or "") for tried in found.tried)


def test_memory_that_runs_out_when_rows_are_compared_is_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "images_per_second", lambda served, images: 1.0)
    monkeypatch.setattr(trial, "unlike", lambda served, images: None)
    found = choose(Limited(on_a_cpu), images(), draws=1)
    assert [tried.form.batch for tried in found.tried if tried.images_per_second] == [200, 100, 50]
    assert found.form.batch == 50


class Viewing(nn.Module):
    """Runs with contiguous images only, and its forward cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        if float(x.sum()) > 1e9:
            return x
        return self.linear(self.norm(self.conv(x)).view(len(x), -1))


def test_forms_in_which_a_model_does_not_run_are_passed_over() -> None:
    found = choose(Viewing().eval(), images(), draws=MANY)
    assert (found.form.memory, found.form.folded) == ("contiguous", False)


def test_one_thread_a_process_is_for_work_that_other_processes_are_started_for(monkeypatch) -> None:
    """Two threads do 1.5 times the work of one, two processes twice: but for 20 seconds nobody starts another."""
    monkeypatch.setattr(trial, "images_per_second", lambda served, images: {1: 1000.0, 2: 1500.0}[served.form.threads])
    with threads(2):
        assert choose(small(), images(), draws=30_000).form.threads == 2
        assert choose(small(), images(), draws=30_000_000).form.threads == 1
        assert choose(small(), images(), draws=30_000_000, alone=True).form.threads == 2
        monkeypatch.setattr(trial, "images_per_second", lambda served, images: 1000.0 * served.form.threads**1.2)
        assert choose(small(), images(), draws=30_000_000).form.threads == 2


def test_a_callable_has_one_form() -> None:
    form = choose(lambda x: x.flatten(1)[:, :3], images(), draws=MANY).form
    assert (form.dtype, form.memory, form.compiled) == ("float32", "contiguous", False)


def test_forms_that_mix_rows_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "images_per_second", lambda served, images: 1.0 + (served.form.dtype == "bfloat16"))
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    spoilt = Spoilt(model)
    found = choose(spoilt, images(), draws=MANY)
    assert found.form.dtype == "float32"
    assert any("other rows" in (tried.refused or "") for tried in found.tried)
    with pytest.raises(UserError, match="is not eligible: an image's logits change when the other rows"):
        choose(spoilt, images(), asked=Asked(dtype="bfloat16"), draws=MANY)


class Spoilt(nn.Module):
    """In bf16, rows see each other a little."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        return z + 1e-3 * z.mean(0) if x.dtype == torch.bfloat16 else z


class Cancelling(nn.Module):
    """In bf16, little is left of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x + 64) - 64)


def hooked() -> nn.Module:
    """Folding drops the hook of the whole."""
    model = small()
    model.register_forward_hook(lambda module, inputs, output: output + 0.5 * output.flip(1))
    return model


@pytest.mark.parametrize(
    ("model", "right", "wrong"),
    [(Cancelling, {"dtype": "float32"}, {"dtype": "bfloat16"}), (hooked, {"folded": False}, {"folded": True})],
)
def test_forms_whose_logits_are_not_the_models_are_refused(monkeypatch, model, right: dict, wrong: dict) -> None:
    def clock(served, images: Tensor) -> float:
        return 1.0 + (wrong.items() <= served.form.settings().items())  # prefers what is wrong

    monkeypatch.setattr(trial, "images_per_second", clock)
    found = choose(model().eval(), images(), asked=Asked(batch=8), draws=MANY)
    assert right.items() <= found.form.settings().items()
    refused = [tried for tried in found.tried if "off those of the model in float32" in (tried.refused or "")]
    assert refused
    assert all(wrong.items() <= tried.form.settings().items() for tried in refused)


class ByRow(nn.Module):
    """In bf16, or always, logits depend on the row."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.inner, self.always = small(), always

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        return z + torch.arange(len(x))[:, None] / 64 if self.always or x.dtype == torch.bfloat16 else z


def test_forms_in_which_rows_differ_are_chosen_only_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "images_per_second", lambda served, images: 1.0 + (served.form.dtype == "bfloat16"))
    assert choose(ByRow(always=False), images(), draws=MANY).form.dtype == "float32"
    assert choose(ByRow(always=True), images(), draws=MANY).form.dtype == "bfloat16"


def test_a_model_that_runs_in_no_form() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("no such luck")

    with pytest.raises(UserError, match=r"can be used in no form.*no such luck"):
        choose(broken, images())
