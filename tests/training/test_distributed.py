"""Two processes that share every batch give the weights of one, also where the loss differentiates twice."""

import subprocess
import sys
from pathlib import Path

import pytest
import shared_batch
import torch
from safetensors.torch import load_file

from gambeson.errors import UserError
from gambeson.jsonl import read_lines
from gambeson.training.distributed import slice_of, start
from gambeson.training.session import seeded


def test_slices_partition_the_batch() -> None:
    rows = torch.arange(7)
    parts = [slice_of(rows, rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 2, 2]
    assert torch.equal(torch.cat(parts), rows)
    assert [len(slice_of(torch.arange(1), rank, 2)) for rank in range(2)] == [1, 0]


def test_ranks_and_purposes_have_their_own_noise() -> None:
    cpu = torch.device("cpu")
    draws = [
        torch.randn(4, generator=seeded(0, what, rank, cpu)) for what in ("training noise", "x") for rank in (0, 1)
    ]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    assert torch.equal(torch.randn(4, generator=seeded(0, "training noise", 0, cpu)), draws[0])


def test_two_processes_equal_one_in_float64(tmp_path: Path) -> None:
    for devices in ("1", "2"):
        (tmp_path / devices).mkdir()
    threads = torch.get_num_threads()
    shared_batch.main(1, tmp_path / "1")
    torch.set_num_threads(threads)
    command = [sys.executable, shared_batch.__file__, "2", str(tmp_path / "2")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("plain", "penalty"):
        one, two = (torch.load(tmp_path / str(n) / f"{name}.pt", weights_only=True) for n in (1, 2))
        zero = load_file(tmp_path / "2" / name / "model.safetensors")  # what rank 0 wrote
        for key, value in one["model"].items():
            assert value.dtype == torch.float64
            assert torch.allclose(value, two["model"][key], rtol=0, atol=1e-12)
            assert torch.equal(zero[key], two["model"][key])
        for first, second in zip(one["metrics"], two["metrics"], strict=True):
            assert first["terms"] == pytest.approx(second["terms"], abs=1e-12)
            assert first["validation_accuracy"] == second["validation_accuracy"]


def test_two_processes_that_were_killed_have_the_metrics_of_two_that_were_not(tmp_path: Path) -> None:
    """Killed in the middle of an epoch: what each rank had summed up so far must come back to that rank."""

    def run(name: str, after: int) -> int:
        command = [sys.executable, shared_batch.__file__, "2", str(tmp_path / name), str(after)]
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode

    assert run("whole", 0) == 0
    assert run("killed", 20) != 0
    assert not (tmp_path / "killed" / "cost.json").exists()
    assert run("killed", 0) == 0
    whole, killed = (list(read_lines(tmp_path / name / "metrics.jsonl")) for name in ("whole", "killed"))
    times = ("seconds", "images_per_second")
    without = [[{k: v for k, v in line.items() if k not in times} for line in lines] for lines in (whole, killed)]
    assert without[0] == without[1]
    assert len(whole) == 2


def test_a_device_without_float64_is_refused_and_auto_never_picks_it() -> None:
    with pytest.raises(UserError, match="device is 'mps'; it must be auto, cpu or cuda"):
        start("mps", 1, "32-true")
    assert start("auto", 1, "32-true").device.type in ("cpu", "cuda")
