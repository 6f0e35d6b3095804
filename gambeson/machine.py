"""What this machine is: its kind, as far as the last bits of logits and of noise depend on it, and its cores."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gambeson import __version__
from gambeson.errors import UserError

Kind = dict[str, str | None]  # None: this system does not tell
DEVICES = ("cpu", "cuda")
NOISE = ("numpy", "scipy")  # what the noise depends on, and no logits
# The instruction sets between which matrix libraries choose their kernels.
_CHOSEN_BY = re.compile(r"\b(?:sse4_[12]|fma|avx\w*|amx\w*|asimd\w*|sve\w*|bf16|i8mm)\b")
# They also choose by who made the processor, and cut matrices by the size of its caches.
_PROCESSOR = re.compile(r"^(?:vendor_id|cpu family|model|cache size|CPU implementer|CPU variant|CPU part)\s*:.*$", re.M)


@cache  # asked for with every batch, and the list of a large machine's processors is long
def kind_of_machine(device: str, compiled: bool = False) -> Kind:
    """Versions of Gambeson and torch, of NumPy and SciPy (generators and table of the noise), the unit that computes,
    for a CPU the processor, and for compiled forms the compiler.
    """
    kind: Kind = {"gambeson": __version__, "torch": torch.__version__, **{name: version(name) for name in NOISE}}
    kind["unit"] = _unit(device)
    if torch.device(device).type == "cpu":
        kind["processor"] = _processor()
    return kind | {"compiler": _compiler()} if compiled else kind


def differences(then: Mapping[str, Any], here: Mapping[str, Any], apart: Sequence[str] = ()) -> str:
    """In what this machine is not the one that was recorded, `apart` left out, in words. What either does not say
    (older records say less) is not known to differ.
    """
    known = {name: value for name, value in here.items() if None not in (value, then.get(name)) and name not in apart}
    return ", ".join(f"{name} {then[name]} (now {value})" for name, value in known.items() if then[name] != value)


def _compiler() -> str:
    """Torch takes $CXX, or g++, for what runs on a CPU, and prepares with it what runs on a GPU."""
    command = [os.environ.get("CXX", "g++"), "--version"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "none"


def usable(device: str) -> str:
    """A device by its name, `auto` being cuda where there is one. Raises UserError where it cannot be used, and for any
    other name: forms name the kind alone, and what runs on "cuda" runs on the first GPU that is visible.
    """
    found = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if found else "cpu"
    if device not in DEVICES:
        raise UserError(f"device is {device!r}; it must be auto, cpu or cuda (CUDA_VISIBLE_DEVICES says which GPU)")
    if device == "cuda" and not found:
        raise UserError("device cuda cannot be used here: torch finds no GPU; use cpu")
    return device


def gpus_of_one_kind() -> list[str]:
    """The visible GPUs that are as the first one, as CUDA_VISIBLE_DEVICES names them: on another, the last bits of
    logits may differ. An empty list where CUDA does not start.
    """
    number, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",")[:number] if named else [str(place) for place in range(number)]
    try:
        kinds = [torch.cuda.get_device_name(place) for place in range(number)]
    except (RuntimeError, AssertionError):
        return []
    return [name for name, kind in zip(names, kinds, strict=True) if kind == kinds[0]]


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


def _processor() -> str | None:
    """Vendor, family, model and cache of the first core."""
    lines = _PROCESSOR.findall(_cpuinfo().partition("\n\n")[0])
    return ", ".join(" ".join(line.replace(":", " ").split()) for line in lines) or platform.processor() or None


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
