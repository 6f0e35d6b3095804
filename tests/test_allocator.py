"""What glibc is asked for holds: freed batches come back without page faults."""

import platform
import resource
import subprocess
import sys

import pytest

from gambeson import allocator

PROBE = """
import ctypes, resource, sys
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, of which so few are needed that nobody sees them
import torch
from gambeson.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults(times):
    for _ in range(times):
        torch.ones(20_000_000)  # 80 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults(10)
print(faults(10) - before)
"""


def faults(habit: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROBE, habit], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept() -> None:
    pages = 10 * 80e6 / resource.getpagesize()
    assert faults("keep") < pages / 200
    assert faults("leave") > pages / 2  # the probe would see them


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
