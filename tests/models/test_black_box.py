"""What only answers: scores, or classes, from Python or from an ONNX file."""

import pickle
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from torch import nn

from gambeson import models
from gambeson.attacks import boundary, pgd, random_noise, square
from gambeson.errors import UserError
from gambeson.inference import Form, serve
from gambeson.models import BlackBox, from_onnx
from gambeson.types import Ball

X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def scores(net: nn.Module) -> BlackBox:
    return BlackBox(lambda x: net(torch.from_numpy(x)).detach().numpy(), identity="scores")


def labels(net: nn.Module) -> BlackBox:
    return BlackBox(lambda x: net(torch.from_numpy(x)).argmax(1).numpy(), identity="labels", classes=3)


def test_scores_are_the_model_s(net: nn.Module) -> None:
    assert torch.equal(scores(net)(X), net(X).detach())
    assert torch.equal(labels(net)(X).argmax(1), net(X).argmax(1))


def test_attacks_without_gradients_work_and_others_say_why_not(net: nn.Module) -> None:
    box, y, ball = scores(net), net(X).argmax(1), Ball("linf", 0.9)
    assert square(box, X, y, ball=ball, queries=200).success.any()
    assert random_noise(box, X, y, ball=ball, draws=200).success.any()
    with pytest.raises(UserError, match="carry no gradient"):
        pgd(box, X, y, ball=ball)


def test_boundary_needs_no_more_than_the_class(net: nn.Module) -> None:
    y = net(X).argmax(1)
    by_class = boundary(labels(net), X, y, queries=500)
    by_score = boundary(net, X, y, queries=500)
    assert torch.equal(by_class.x_adv, by_score.x_adv)


def test_classes_without_their_number_and_out_of_range_are_refused(net: nn.Module) -> None:
    with pytest.raises(UserError, match="classes=K"):
        BlackBox(lambda x: np.zeros(len(x), np.int64), identity="a")(X)
    with pytest.raises(UserError, match="class 3"):
        BlackBox(lambda x: np.full(len(x), 3), identity="a", classes=3)(X)


def test_a_tensor_that_carries_a_gradient_is_an_answer_too(net: nn.Module) -> None:
    with torch.enable_grad():
        found = BlackBox(lambda x: net(torch.as_tensor(x)), identity="a")(X.clone().requires_grad_())  # type: ignore[arg-type,return-value]
    assert not found.requires_grad
    torch.testing.assert_close(found, net(X).detach())


def test_who_expects_tensors_is_told_what_is_asked(net: nn.Module) -> None:
    with pytest.raises(UserError, match=r"asked with arrays: torch\.as_tensor\(images\)"):
        BlackBox(net, identity="a")(X)


def test_another_identity_is_another_model() -> None:
    first, second, again = (BlackBox(len, identity=name) for name in ("a", "b", "a"))  # type: ignore[arg-type]
    assert models.fingerprint(first) == models.fingerprint(again) != models.fingerprint(second)


@pytest.fixture(scope="module", params=["dynamic", "fixed"])
def file(net: nn.Module, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    axes = {"x": {0: "batch"}, "z": {0: "batch"}} if request.param == "dynamic" else None
    torch.onnx.export(net, (X[:4],), str(path), input_names=["x"], output_names=["z"], dynamic_axes=axes, dynamo=False)
    return path


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_answers_as_the_model_that_it_was_made_from(net: nn.Module, file: Path) -> None:
    box = from_onnx(file)
    for rows in (1, 4, 6):
        assert torch.allclose(box(X[:rows]), net(X[:rows]), atol=1e-5)
    again = pickle.loads(pickle.dumps(box))
    assert torch.equal(again(X), box(X))
    assert models.fingerprint(again) == models.fingerprint(box)
    normalised = from_onnx(file, mean=[0.5], std=[0.25])
    assert torch.allclose(normalised(X), net((X - 0.5) / 0.25), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_damaged_and_missing_onnx_files_are_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        from_onnx(tmp_path / "none.onnx")
    (tmp_path / "torn.onnx").write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="no ONNX model"):
        from_onnx(tmp_path / "torn.onnx")


@pytest.mark.skipif(not which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_form_asks_as_always(net: nn.Module) -> None:
    compiling = []

    def answer(x: np.ndarray) -> np.ndarray:
        compiling.append(torch.compiler.is_compiling())
        return net(torch.from_numpy(x)).detach().numpy()

    box = nn.Sequential(nn.Identity(), BlackBox(answer, identity="scores"))
    served = serve(box, Form("float32", "contiguous", len(X), compiled=True))
    assert torch.equal(served(X), net(X).detach())
    assert set(compiling) == {False}
