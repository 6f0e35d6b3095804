"""The C allocator's habits, for processes that are Gambeson's own (the commands, the benchmarks)."""

import ctypes

# Of glibc's malloc.h. Not every glibc takes an mmap threshold above 32 MiB.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed instead of returning it to the system; whether it agreed.

    Every batch frees and takes the same activations again. Where they go back to the system in between, page faults can
    take longer than the arithmetic. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    return bool((mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25)) and kept)
