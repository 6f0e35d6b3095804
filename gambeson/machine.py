"""What this machine is: its kind, as far as the last bits of logits and of noise depend on it, and its cores."""

import os
import re
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

# The instruction sets between which matrix libraries choose their kernels.
_CHOSEN_BY = re.compile(r"\b(?:sse4_[12]|fma|avx\w*|amx\w*|asimd\w*|sve\w*|bf16|i8mm)\b")


@cache  # asked for with every batch, and the list of a large machine's processors is long
def kind_of_machine(device: str, compiled: bool = False) -> dict[str, str]:
    """Versions of torch and NumPy (its generators make the noise), the unit that computes, and for compiled forms the
    compiler.
    """
    kind = {"torch": torch.__version__, "numpy": version("numpy"), "unit": _unit(device)}
    return kind | {"compiler": _compiler()} if compiled else kind


def _compiler() -> str:
    """Torch takes $CXX, or g++, for what runs on a CPU, and prepares with it what runs on a GPU."""
    command = [os.environ.get("CXX", "g++"), "--version"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "none"


_processes = 1  # that share the cores


def share_cores(processes: int) -> None:
    """From now on this process is one of so many that are all at work."""
    global _processes
    _processes = processes


def cores() -> int:
    """How many processor cores this process may use, its share of them if others are at work too."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, found // _processes)


def _unit(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    found = sorted(set(_CHOSEN_BY.findall(flags[1]))) if flags else []
    return " ".join([torch.backends.cpu.get_cpu_capability(), *found])


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
