"""kill -9 at any moment, run again: the same weights to the bit, the same metrics but for times."""

import json
import random
import signal
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import killed as runs
import torch
from safetensors.torch import load_file

KILLS = 5


SERVER = get_context("forkserver")  # imports torch once; every process is its fork
SERVER.set_forkserver_preload(["killed", "lightning_fabric", "torch._dynamo"])


def launch(folder: Path, pause: float) -> BaseProcess:
    process = SERVER.Process(target=runs.run, args=(str(folder), pause))
    process.start()
    return process


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]


def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reference = launch(whole, 0.0)
    chance, steps = random.Random(0), []
    for _ in range(KILLS):
        before = (killed / "checkpoint.pt").stat().st_mtime_ns if (killed / "checkpoint.pt").exists() else 0
        process = launch(killed, 0.05)
        until = time.monotonic() + 60
        while time.monotonic() < until and process.is_alive():  # it goes on: a checkpoint of its own
            if (killed / "checkpoint.pt").exists() and (killed / "checkpoint.pt").stat().st_mtime_ns > before:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.15))
        process.kill()
        process.join()
        if process.exitcode == 0:  # a busy machine let it end first
            break
        assert process.exitcode == -signal.SIGKILL
        steps.append(torch.load(killed / "checkpoint.pt", weights_only=True)["step"])
    assert len(steps) >= 2
    assert steps == sorted(steps)
    assert 0 < steps[0] < 84
    for process in (launch(killed, 0.0), reference):
        process.join()
        assert process.exitcode == 0
    first, second = load_file(whole / "model.safetensors"), load_file(killed / "model.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert metrics(whole) == metrics(killed)
    assert len(metrics(whole)) == 12
    costs = [json.loads((folder / "cost.json").read_text()) for folder in (whole, killed)]
    assert [cost["forward_passes"] for cost in costs] == [84, 84]  # work that a kill undid is not counted twice
    assert [cost["examples_forward"] for cost in costs] == [600, 600]
