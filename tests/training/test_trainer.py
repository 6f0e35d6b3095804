"""The trainer against a loop written out by hand, and what it promises about state, noise, stopping and refusing."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.attacks.local_linearity import local_linearity
from gambeson.errors import RunError, UserError
from gambeson.keys import generator
from gambeson.recipe import Schedule
from gambeson.training import Progress, train
from gambeson.training.schedules import lr_factor
from gambeson.types import Ball

X, Y = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 3
QUICK: dict[str, Any] = {"epochs": 2, "batch": 8, "ratio_steps": 0}


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_equals_a_loop_written_out() -> None:
    """Exact: order, schedule, the smaller last batch and the optimiser, against plain PyTorch."""
    spec = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    model, expected = network(), network().double()
    train(
        model, [(X, Y)], optimizer=spec, schedule={"lr": "cosine", "warmup": 0.3}, seed=5, precision="64-true", **QUICK
    )
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    step = 0
    for epoch in (1, 2):
        order = torch.from_numpy(generator(5, "order", epoch).permutation(20))
        for rows in order.split(8):
            optimizer.param_groups[0]["lr"] = 0.1 * lr_factor(Schedule(lr="cosine", warmup=0.3), step / 6)
            optimizer.zero_grad()
            cross_entropy(expected(X[rows].double()), Y[rows]).backward()
            optimizer.step()
            step += 1
    assert step == 6
    assert torch.allclose(weights(model), weights(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_learns_and_repeats(name: str) -> None:
    runs = []
    for _ in range(2):
        model = network()
        result = train(model, [(X, Y)], loss="noisy", method={"sigma": 0.1}, optimizer={"name": name}, seed=3,
                       epochs=30, batch=8, ratio_steps=0)  # fmt: skip
        assert result.metrics[-1]["loss"] < result.metrics[0]["loss"]
        runs.append(weights(model))
    assert torch.equal(*runs)


def test_seed_changes_order_and_noise() -> None:
    models = [network(), network()]
    for seed, model in enumerate(models):
        train(model, [(X, Y)], seed=seed, **QUICK)
    assert not torch.equal(weights(models[0]), weights(models[1]))


class Recorder:
    """A plain loss that keeps what it was given."""

    def __init__(self) -> None:
        self.noise: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.weight: list[float] = []

    def __call__(
        self, players: Mapping[str, nn.Module], x: Tensor, y: Tensor, *, state: Mapping[str, Tensor],
        generator: torch.Generator, weight: float = 0.0,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
        self.noise.append(torch.randn(x.shape, generator=generator))
        self.rows.append(x)
        self.weight.append(weight)
        steps = state.get("steps", torch.zeros(()))
        return {"cross_entropy": cross_entropy(players["model"](x), y)}, {"steps": steps + 1}


def test_two_epochs_see_different_noise_and_another_order() -> None:
    """ART issue 1678: noise that is drawn once and used in every epoch went unseen for years."""
    seen = Recorder()
    train(network(), [(X, Y)], loss=seen, epochs=2, batch=20, ratio_steps=0)
    assert not torch.equal(seen.noise[0], seen.noise[1])
    assert not torch.equal(seen.rows[0], seen.rows[1])
    for rows in seen.rows:  # every image once an epoch
        assert torch.equal(rows.flatten(1).sort(0).values, X.flatten(1).sort(0).values)


def test_the_last_batch_is_smaller_and_kept() -> None:
    seen = Recorder()
    train(network(), [(X, Y)], loss=seen, epochs=1, batch=8, ratio_steps=0)
    assert [len(rows) for rows in seen.rows] == [8, 8, 4]


def test_a_schedule_reaches_the_loss_as_a_number() -> None:
    seen = Recorder()
    train(
        network(), [(X, Y)], loss=seen, method={"weight": {"from": 0.0, "to": 1.0}}, epochs=2, batch=10, ratio_steps=0
    )
    assert seen.weight == [0.0, 0.25, 0.5, 0.75]


def test_two_players_move_by_their_own_losses() -> None:
    """Each loss moves its player only, though its gradient runs through the other."""

    def forward(players: Any, x: Tensor, y: Tensor, *, state: Any, generator: Any) -> Any:
        return {"cross_entropy": cross_entropy(players["critic"](players["model"](x)), y)}, state

    def critic(players: Any, x: Tensor, y: Tensor, *, state: Any, generator: Any) -> Any:
        return {"distance": 0 * players["critic"](players["model"](x)).sum()}, state

    players = {"model": network(), "critic": nn.Linear(3, 3)}
    before = [weights(player) for player in players.values()]
    result = train(players, [(X, Y)], loss={"model": forward, "critic": critic}, **QUICK)
    assert not torch.equal(weights(players["model"]), before[0])
    assert torch.equal(weights(players["critic"]), before[1])
    assert set(result.metrics[0]["terms"]) == {"model/cross_entropy", "critic/distance"}


def test_leaves_global_generators_and_training_flags_alone() -> None:
    model = nn.Sequential(network(), nn.Dropout(0.5)).eval()
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    train(model, [(X, Y)], **QUICK)
    assert torch.equal(torch.rand(1), expected)
    assert not any(module.training for module in model.modules())


def test_metrics_and_progress_tell_the_same() -> None:
    told: list[Progress] = []
    result = train(network(), [(X, Y)], validation=[(X, Y)], on_progress=told.append, **QUICK)
    ends = [p for p in told if p.validation_accuracy is not None]
    assert [p.step for p in ends] == [3, 6] == [line["step"] for line in result.metrics]
    assert [p.loss for p in ends] == [line["loss"] for line in result.metrics]
    assert ends[-1].seconds_left == 0
    assert [line["progress"] for line in result.metrics] == [0.5, 1.0]


def test_best_on_validation_is_kept_on_request_only() -> None:
    """A loss that turns against the model half way: `best` goes back to before that."""
    x = torch.cat([torch.zeros(30, 1, 4, 4), torch.ones(30, 1, 4, 4)])
    y = torch.arange(60) // 30
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

    def flipped_later(players: Any, x: Tensor, y: Tensor, *, state: Any, generator: Any, sign: float) -> Any:
        return {"cross_entropy": sign * cross_entropy(players["model"](x), y)}, state

    method = {"sign": {"from": 1.0, "to": -10.0, "start": 0.49, "until": 0.5}}
    for keep, low, high in (("best", 1.0, 1.0), ("last", 0.0, 0.6)):
        nn.init.zeros_(model[1].weight)
        train(model, [(x, y)], loss=flipped_later, method=method, validation=[(x, y)], keep=keep,
              optimizer={"lr": 1.0, "momentum": 0.0}, epochs=4, batch=20, ratio_steps=0)  # fmt: skip
        accuracy = (model(x).argmax(1) == y).double().mean().item()
        assert low <= accuracy <= high


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    def breaks(players: Any, x: Tensor, y: Tensor, *, state: Any, generator: Any, scale: float) -> Any:
        factor = float("nan") if scale > 0.5 else 1.0
        return {"cross_entropy": factor * cross_entropy(players["model"](x), y)}, state

    with pytest.raises(RunError, match=r"became nan by step .* Lower optimizer.lr"):
        train(network(), [(X, Y)], loss=breaks, method={"scale": {"from": 0.0, "to": 1.0}}, run=tmp_path, **QUICK)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["step"] == 3
    assert all(bool(tensor.isfinite().all()) for tensor in content["players"]["model"].values())


def test_ctrl_c_writes_a_checkpoint_and_the_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def interrupting(players: Any, x: Tensor, y: Tensor, *, state: Any, generator: Any) -> Any:
        count = state.get("count", torch.zeros(())) + 1
        if count == 2 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os.kill(os.getpid(), signal.SIGINT)
        noise = torch.randn(x.shape, generator=generator)
        return {"cross_entropy": cross_entropy(players["model"](x + noise), y)}, {"count": count}

    whole = network()
    (tmp_path / "once").touch()
    train(whole, [(X, Y)], loss=interrupting, **QUICK)
    (tmp_path / "once").unlink()
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(network(), [(X, Y)], loss=interrupting, run=run, **QUICK)
    assert torch.load(run / "checkpoint.pt", weights_only=True)["step"] == 2
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step":3}\n{"step":')  # killed between a line and its checkpoint, and within a line
    model = network(seed=7)  # the checkpoint's weights count, not these
    result = train(model, [(X, Y)], loss=interrupting, run=run, **QUICK)
    assert torch.equal(weights(model), weights(whole))
    assert [line["step"] for line in result.metrics] == [3, 6]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = train(network(), [(X, Y)], run=tmp_path, **QUICK)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = train(network(seed=1), [(X, Y)], run=tmp_path, **QUICK)
    assert torch.equal(weights(again.model), weights(first.model))
    assert again.cost == first.cost
    assert files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"checkpoint.pt", "metrics.jsonl", "model.safetensors", "cost.json"} == set(files)
    assert json.loads(files["cost.json"])["forward_passes"] == 6


def test_other_settings_or_other_data_are_refused(tmp_path: Path) -> None:
    train(network(), [(X, Y)], run=tmp_path, **QUICK)
    with pytest.raises(UserError, match=r"train\.epochs was 2, now 3.*another folder"):
        train(network(), [(X, Y)], run=tmp_path, **{**QUICK, "epochs": 3})
    with pytest.raises(UserError, match=r"optimizer\.name was sgd, now adamw"):  # also where the key is a name
        train(
            network(), [(X, Y)], run=tmp_path, **{**QUICK, "optimizer": {**QUICK.get("optimizer", {}), "name": "adamw"}}
        )
    with pytest.raises(UserError, match="training data was"):
        train(network(), [(X[:19], Y[:19])], run=tmp_path, **QUICK)
    train(network(), [(X, Y)], run=tmp_path, checkpoint_seconds=1.0, **QUICK)  # cannot change a weight


def test_a_folder_with_a_model_and_no_checkpoint_is_refused(tmp_path: Path) -> None:
    train(network(), [(X, Y)], run=tmp_path, **QUICK)
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(UserError, match="no checkpoint; choose another folder"):
        train(network(), [(X, Y)], run=tmp_path, **QUICK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 3}, "unknown key epoch; did you mean epochs"),
        ({"batch": 0}, "batch is 0; it must be greater than or equal to 1"),
        ({"loss": "plane"}, "'plane' is not known"),
        ({"keep": "best"}, "needs validation images"),
        ({"linearity": 0.1}, "needs validation images"),
        ({"optimizer": {"lr": -1.0}}, "lr is -1.0"),
        ({"loss": "noisy", "method": {"sigma": {"from": 1.0}}}, "a schedule is"),
        ({"loss": "noisy", "method": {"sgima": 0.25}}, "method noisy has no key sgima; did you mean sigma"),
        ({"loss": "noisy"}, "method noisy needs the key sigma"),
        ({"loss": {"critic": "plain"}}, "no such player"),
        ({"devices": 0}, "devices is 0"),
        ({"device": "abacus"}, "'abacus'"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(arguments: dict, message: str) -> None:
    model = network()
    with pytest.raises(UserError, match=message):
        train(model, [(X, Y)], **arguments)
    assert torch.equal(weights(model), weights(network()))


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="does not take images of shape"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), [(X, Y)])
    with pytest.raises(UserError, match="labels reach from 0 to 2"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), [(X, Y)])
    frozen = network().requires_grad_(False)
    with pytest.raises(UserError, match="no parameter that requires a gradient"):
        train(frozen, [(X, Y)])


def test_bfloat16_and_augmentation_run() -> None:
    images = torch.rand(16, 1, 8, 8)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    result = train(model, [(images, Y[:16])], augment={"crop": 1, "flip": True}, precision="bf16-mixed",
                   channels_last=True, **QUICK)  # fmt: skip
    assert model[0].weight.dtype == torch.float32
    assert result.metrics[-1]["loss"] > 0


def test_validation_is_in_evaluation_mode_and_changes_nothing() -> None:
    def fresh() -> nn.Sequential:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 3)]
            return nn.Sequential(nn.Flatten(), *layers)

    watched, alone = fresh(), fresh()
    result = train(watched, [(X, Y)], validation=[(X, Y)], linearity=0.1, **QUICK)
    train(alone, [(X, Y)], **QUICK)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name])
    right = (watched.eval()(X).argmax(1) == Y).double().mean().item()
    assert result.metrics[-1]["validation_accuracy"] == pytest.approx(right)
    found = local_linearity(watched, X, Y, ball=Ball("linf", 0.1), steps=20, restarts=1).gamma.mean().item()
    assert result.metrics[-1]["linearity"] == pytest.approx(found, rel=1e-3)
    assert found > 0


def test_a_second_training_of_a_run_is_refused(tmp_path: Path) -> None:
    refused = []

    def begin(progress: Progress) -> None:
        with pytest.raises(UserError, match="another process is training"):
            train(network(), [(X, Y)], run=tmp_path / "r", **QUICK)
        refused.append(progress)

    train(network(), [(X, Y)], run=tmp_path / "r", on_progress=begin, **QUICK)
    assert refused
    train(network(), [(X, Y)], run=tmp_path / "r", **QUICK)  # finished, and free
