"""What every test process needs before anything is imported."""

import os
import signal

# One thread per process: small tensors gain nothing from more, and parallel workers would fight over the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# A shell that runs the tests in the background makes them ignore Ctrl-C, which some of them are about.
signal.signal(signal.SIGINT, signal.default_int_handler)
