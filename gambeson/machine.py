"""What kind of machine this is, as far as the last bits of logits and of noise depend on it."""

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

# The instruction sets between which matrix libraries choose their kernels.
_CHOSEN_BY = re.compile(r"\b(?:sse4_[12]|fma|avx\w*|amx\w*|asimd\w*|sve\w*|bf16|i8mm)\b")


@cache  # asked for with every batch, and the list of a large machine's processors is long
def kind_of_machine(device: str) -> dict[str, str]:
    """Versions of torch and NumPy (its generators make the noise), and the unit that computes."""
    return {"torch": torch.__version__, "numpy": version("numpy"), "unit": _unit(device)}


def _unit(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    found = sorted(set(_CHOSEN_BY.findall(flags[1]))) if flags else []
    return " ".join([torch.backends.cpu.get_cpu_capability(), *found])


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
