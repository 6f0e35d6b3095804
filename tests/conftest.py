"""One thread per test process: small tensors gain nothing from more, and parallel workers would fight over the cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
