"""Weights on disk: exact round trips, the field's checkpoints, and files that are not weights."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gambeson import models
from gambeson.errors import UserError
from gambeson.models import fingerprint, load, load_weights, save
from gambeson.models.weights import read_metadata

SHAPE = (3, 8, 8)


def net(**options: object) -> nn.Module:
    return models.build("digits_cnn", classes=4, shape=SHAPE, **options)


def residual() -> nn.Module:
    """A model with running statistics, some of them changed."""
    made = models.build("resnet20", classes=3, shape=SHAPE)
    made(torch.rand(4, *SHAPE))
    return made


def test_round_trip_rebuilds_the_model(tmp_path: Path) -> None:
    model = net(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], activation="softplus")
    save(model, tmp_path / "new" / "model.safetensors", {"recipe": "digits-plain"})
    again = load(tmp_path / "new" / "model.safetensors")
    assert fingerprint(again) == fingerprint(model)
    x = torch.rand(5, *SHAPE)
    assert torch.equal(again(x), model.eval()(x))
    assert again.architecture == model.architecture
    assert not again.training
    assert read_metadata(tmp_path / "new" / "model.safetensors")["recipe"] == "digits-plain"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.safetensors"]


def test_round_trip_keeps_buffers(tmp_path: Path) -> None:
    model = residual()
    save(model, tmp_path / "m.safetensors")
    assert fingerprint(load(tmp_path / "m.safetensors")) == fingerprint(model)


def test_loading_draws_nothing(tmp_path: Path) -> None:
    save(net(), tmp_path / "m.safetensors")
    state = torch.get_rng_state()
    load(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), state)


def test_wrapped_models_save_under_plain_names(tmp_path: Path) -> None:
    model = net()
    save(nn.DataParallel(model), tmp_path / "parallel.safetensors")
    save(torch.compile(model, backend="eager"), tmp_path / "compiled.safetensors")  # type: ignore[arg-type]
    for name in ("parallel", "compiled"):
        assert fingerprint(load(tmp_path / f"{name}.safetensors")) == fingerprint(model)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    old = net()
    save(old, path)

    def torn(source: str, target: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", torn)
    with pytest.raises(OSError, match="disk full"):
        save(net(), path)
    assert fingerprint(load(path)) == fingerprint(old)
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_metadata_key_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="architecture"):
        save(net(), tmp_path / "m.safetensors", {"architecture": "x"})


def test_a_file_without_architecture_names_the_remedy(tmp_path: Path) -> None:
    save(nn.Linear(2, 2), tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=r"package\.module:factory"):
        load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod.", "1.", "1.module."])
@pytest.mark.parametrize("nest", [None, "state_dict", "model", "net", "model_state_dict"])
def test_prefixes_and_nesting(tmp_path: Path, prefix: str, nest: str | None) -> None:
    source, target = residual(), residual()
    state = OrderedDict((prefix + name, tensor) for name, tensor in source.state_dict().items())
    torch.save(state if nest is None else {"epoch": 3, nest: state, "arch": "resnet20"}, tmp_path / "w.pth.tar")
    load_weights(target, tmp_path / "w.pth.tar")
    assert fingerprint(target) == fingerprint(source)


def test_prefixes_in_safetensors(tmp_path: Path) -> None:
    source, target = net(), net()
    save_file({"module." + k: v for k, v in source.state_dict().items()}, tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors")
    assert fingerprint(target) == fingerprint(source)


def test_a_prefix_that_belongs_to_the_model_stays(tmp_path: Path) -> None:
    def wrapped() -> nn.Module:
        return nn.Sequential(OrderedDict(model=nn.Linear(2, 2)))

    source, target = wrapped(), wrapped()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert fingerprint(target) == fingerprint(source)


def test_checkpoints_without_our_normalisation_or_with_old_batch_norm(tmp_path: Path) -> None:
    source = residual()
    target = models.build("resnet20", classes=3, shape=SHAPE, mean=[0.1] * 3, std=[0.2] * 3)
    state = {k: v for k, v in source.state_dict().items() if "normalize" not in k and "tracked" not in k}
    torch.save(state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert torch.equal(target.fc.weight, source.fc.weight)
    assert target.normalize.mean.flatten().tolist() == pytest.approx([0.1] * 3)
    torch.save({**state, "normalize.mean": torch.zeros(1, 3, 1, 1)}, tmp_path / "half.pt")  # a mean without its std
    with pytest.raises(UserError, match=r"1 missing: normalize.std"):
        load_weights(target, tmp_path / "half.pt")


def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    target = net()
    before = fingerprint(target)
    state = net().state_dict()
    state["fc2.weight"] = torch.zeros(10, 128)
    state["extra"] = state.pop("conv1.bias")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        load_weights(target, tmp_path / "w.pt")
    for words in ("1 missing: conv1.bias", "1 unexpected: extra", "fc2.weight is (10, 128) in the file and (4, 128)"):
        assert words in str(caught.value)
    assert fingerprint(target) == before


def test_many_complaints_are_cut_short(tmp_path: Path) -> None:
    torch.save({f"layer{i}": torch.zeros(1) for i in range(50)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"50 unexpected: layer0, layer1, layer2, \.\.\.") as caught:
        load_weights(net(), tmp_path / "w.pt")
    assert len(str(caught.value)) < 600


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def files(folder: Path) -> dict[str, bytes]:
    """Files that people hand in as weights, and are not."""
    good = io.BytesIO()
    torch.save(net().state_dict(), good)
    bomb = io.BytesIO()
    torch.save({"state_dict": Bomb(folder / "exploded")}, bomb)
    module = io.BytesIO()
    torch.save(net(), module)
    nothing = io.BytesIO()
    torch.save({"epoch": 3, "lr": 0.1}, nothing)
    several = io.BytesIO()
    torch.save([torch.zeros(1)], several)
    save(net(), folder / "good.safetensors")
    whole = (folder / "good.safetensors").read_bytes()
    script = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), script)
    return {
        "page.pt": b"<!DOCTYPE html><html>Not found</html>",
        "page.safetensors": b"\n<html>Not found</html>",
        "lfs.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "lfs.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "empty.pt": b"",
        "empty.safetensors": b"",
        "text.pt": b"hello",
        "cut.pt": good.getvalue()[: len(good.getvalue()) // 2],
        "cut.safetensors": whole[: len(whole) // 2],
        "header.safetensors": whole[:100],
        "bomb.pt": bomb.getvalue(),
        "bomb.pickle": pickle.dumps(Bomb(folder / "exploded")),
        "module.pt": module.getvalue(),
        "nothing.pt": nothing.getvalue(),
        "list.pt": several.getvalue(),
        "script.pt": script.getvalue(),
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("page.pt", "web page"),
        ("page.safetensors", "web page"),
        ("lfs.pt", "git lfs pull"),
        ("lfs.safetensors", "git lfs pull"),
        ("empty.pt", "not a weights file"),
        ("empty.safetensors", "damaged or cut short"),
        ("text.pt", "not a weights file"),
        ("cut.pt", "damaged or cut short"),
        ("cut.safetensors", "damaged or cut short"),
        ("header.safetensors", "damaged or cut short"),
        ("bomb.pt", "never runs code"),
        ("bomb.pickle", "never runs code"),
        ("module.pt", "never runs code"),
        ("nothing.pt", "holds epoch, lr"),
        ("list.pt", "holds a list"),
        ("script.pt", "TorchScript"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Detected pickle", "ignore:.torch.load. received")
def test_files_that_are_not_weights(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(files(tmp_path)[name])
    with pytest.raises(UserError, match=words) as caught:
        load_weights(net(), tmp_path / name)
    assert name in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_weights(net(), tmp_path / "none.pt")
    with pytest.raises(UserError, match="folder"):
        load_weights(net(), tmp_path)


def test_the_bomb_is_live(tmp_path: Path) -> None:
    """The detector's own proof: plain unpickling would have run the code."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


def test_fingerprint_sees_values_names_types_and_shapes() -> None:
    base = {"a": torch.arange(4.0), "b": torch.tensor(1)}

    def of(state: dict[str, torch.Tensor]) -> str:
        holder = nn.Module()
        for name, tensor in state.items():
            holder.register_buffer(name, tensor)
        return fingerprint(holder)

    changed = [
        {**base, "a": torch.tensor([0.0, 1.0, 2.0, 3.0000002])},
        {**base, "a": base["a"].double()},
        {**base, "a": base["a"].bfloat16()},
        {**base, "a": base["a"].view(2, 2)},
        {**base, "b": torch.tensor(1.0).view(torch.int32).long()},
        {**base, "b": torch.tensor(1).view(torch.float64)},  # the same bytes as another type
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"]},
    ]
    assert len({of(base), *map(of, changed)}) == 1 + len(changed)
    assert of(dict(reversed(base.items()))) == of(base)
    with pytest.raises(UserError, match="no weights"):
        fingerprint(len)  # type: ignore[arg-type]
