"""What every test process needs before anything is imported."""

import os
import signal
from multiprocessing import forkserver

import pytest
from processes import CONTEXT

# One thread per process: small tensors gain nothing from more, and parallel workers would fight over the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")
# A shell that runs the tests in the background makes them ignore Ctrl-C, which some of them are about.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local engine's workers do not import torch anew, as processes that are spawned do."""
    forkserver.ensure_running()  # now, when no signal is blocked: all that it forks would have it blocked for ever
    monkeypatch.setattr("gambeson.engines.local.get_context", lambda method: CONTEXT)
