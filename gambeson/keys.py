"""Randomness as an argument: generators keyed by 128 bits.

A key is a hash of what the draws are *for* (run seed, purpose, noise, image index, stage, block), so that order, batch
split, number of workers and resuming cannot change them, and two purposes never share a stream. Torch's CPU generator
keeps only 32 bits of a seed (collisions after some 10^4 seeds), hence NumPy's: Philox, and SFC64 for smoothing noise,
of which there is so much that the generator's speed counts.
"""

import hashlib
import json

import numpy as np

Part = str | int | float
GENERATOR = "sfc64"  # of `stream`


def key(*parts: Part) -> int:
    """A 128-bit key for `parts`, the same on every machine; ("a", 1) and ("a1",) differ, and so do 1, 1.0 and "1".

    >>> key("seed", 0) == key("seed", 0), key("seed", 0) == key("seed", "0")
    (True, False)
    """
    for part in parts:
        if type(part) not in (str, int, float):
            raise TypeError(f"a key is made of str, int or float, not {type(part).__name__} ({part!r})")
    encoded = json.dumps([[type(part).__name__, repr(part)] for part in parts]).encode()
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=16).digest(), "little")


def generator(*parts: Part) -> np.random.Generator:
    """A private generator for `parts`: Philox with the 128-bit `key(*parts)`, its counter at zero.

    >>> bool(generator("x", 1).integers(2**62) == generator("x", 1).integers(2**62))
    True
    """
    return np.random.Generator(np.random.Philox(key=key(*parts)))


def stream(*parts: Part) -> np.random.Generator:
    """A private generator for much noise: SFC64, which is faster than Philox, started from the 128-bit `key(*parts)`.

    Its state is 192 bits, hashed from the key, and a counter that starts at 1; a step is a bijection of the whole. So
    two keys' streams never overlap within 2^64 words, unless their 192 bits are equal from the start. Nothing here
    skips ahead in a stream, which is what a counter-based generator is for: every block of noise has its own key.

    >>> bool(stream("x", 1).integers(2**62) == stream("x", 1).integers(2**62))
    True
    """
    return np.random.Generator(np.random.SFC64(key(*parts)))
