"""What tells machines apart between which the last bits of logits or of noise may differ, and their devices."""

import pytest
import torch

from gambeson import machine
from gambeson.errors import UserError

FLAGS = "flags\t\t: fpu sse4_1 fma avx2 avx512f amx_bf16"
INTEL = f"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Xeon\n{FLAGS}\n"
AMD = f"processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\ncache size\t: 1024 KB\n{FLAGS}\n"
ARM = "processor\t: 0\nFeatures\t: asimd sve bf16\nCPU implementer\t: 0x41\nCPU variant\t: 0x0\nCPU part\t: 0xd4f\n"


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch):
    """A function from /proc/cpuinfo to the kind of machine."""

    def found(cpuinfo: str) -> machine.Kind:
        monkeypatch.setattr(machine, "_cpuinfo", lambda: cpuinfo)
        machine.kind_of_machine.cache_clear()
        return machine.kind_of_machine("cpu")

    yield found
    machine.kind_of_machine.cache_clear()


def test_processors_of_the_same_instructions_are_told_apart(kind) -> None:
    intel, amd = kind(INTEL), kind(AMD)
    assert intel["unit"] == amd["unit"]
    assert intel["processor"] == "vendor_id GenuineIntel, cpu family 6, model 143"
    assert amd["processor"] == "vendor_id AuthenticAMD, cpu family 26, model 2, cache size 1024 KB"
    assert kind(ARM)["processor"] == "CPU implementer 0x41, CPU variant 0x0, CPU part 0xd4f"
    assert kind(INTEL + "\n" + AMD) == intel  # of several cores, the first
    assert {"gambeson", "torch", "numpy", "scipy"} <= intel.keys()


def test_what_a_system_does_not_tell_is_null(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert kind("")["processor"] == "arm"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert kind("")["processor"] is None


def test_only_what_both_say_is_known_to_differ(kind) -> None:
    here = kind(AMD)
    assert machine.differences(here, here) == ""
    assert machine.differences({"torch": here["torch"], "processor": None, "threads": 3}, here) == ""
    then = {**here, "scipy": "0.1", "processor": "abacus"}
    assert machine.differences(then, here, apart=machine.NOISE) == f"processor abacus (now {here['processor']})"
    assert "scipy 0.1 (now " in machine.differences(then, here)
    assert machine.differences(then, kind("")).startswith("scipy 0.1")


@pytest.mark.parametrize("gpu", [False, True])
def test_devices_are_kinds(gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert machine.usable("cpu") == "cpu"
    assert machine.usable("auto") == ("cuda" if gpu else "cpu")
    for other in ("cuda:1", "mps", "toaster", ""):
        with pytest.raises(UserError, match=f"device is '{other}'; it must be auto, cpu or cuda .CUDA_VISIBLE_DEVICES"):
            machine.usable(other)
    if gpu:
        assert machine.usable("cuda") == "cuda"
    else:
        with pytest.raises(UserError, match="cuda cannot be used here: torch finds no GPU; use cpu"):
            machine.usable("cuda")
