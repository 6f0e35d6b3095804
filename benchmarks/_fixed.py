"""The table of the published procedure, for `certify.py`, without most of its draws: one line of JSON for each image.

Whether a radius is certified hangs on one question: are `least` or more of the n draws hits? Among the first m of
them, hits are as in a sample without replacement, whatever their probability: hypergeometric, given how many there are
in all. So an image stops as soon as every radius of the grid has an answer that all n draws would contradict with
probability 1e-9 at most, look by look: for 500 images, 8 radii and 55 looks, less than three in ten thousand that any
answer differs. Bound and radius are computed as published.

Its JSON argument says what to do. Images that are done are kept in the folder `kept`, under a name that hashes what was
asked: one that was stopped goes on.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import beta, norm

from gambeson import data, models
from gambeson.allocator import keep_freed_memory
from gambeson.inference import Form, serve
from gambeson.jsonl import append, as_line, drop_torn_line, read_lines
from gambeson.noise import lattice, parse
from gambeson.records import fingerprint
from gambeson.smoothed.company import together
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import ABSTAIN, Ask, Procedure
from gambeson.stats import looks

ERROR = 1e-9
COMPANY = 25  # images whose draws share calls


def least_hits(radii: list[float], *, sigma: float, draws: int, alpha: float) -> tuple[int, ...]:
    """The fewest hits with which the published procedure certifies each radius; draws + 1 where none do."""
    hits = np.arange(1, draws + 1)
    p_lower = beta.ppf(alpha, hits, draws - hits + 1)
    found = np.where(p_lower < 0.5, -np.inf, sigma * norm.ppf(p_lower))
    return tuple((1 + np.searchsorted(found, radii)).tolist())


class Limits(NamedTuple):
    """At a look, for each radius: it is certified from so many hits on, and not with so few or fewer."""

    seen: int
    certified: NDArray[np.int64]
    missed: NDArray[np.int64]


def hypergeometric(draws: int, good: int, seen: int) -> NDArray[np.float64]:
    """P(so many of the first `seen` draws are among the `good` ones of all) for 0 .. seen; scipy's takes minutes."""
    logs = log_factorials(draws)

    def choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
        """log (n over k); -inf where there is no way."""
        possible = (k >= 0) & (k <= n)
        k = np.where(possible, k, 0)
        return np.where(possible, logs[n] - logs[k] - logs[n - k], -np.inf)

    hits = np.arange(seen + 1)
    return np.exp(choose(good, hits) + choose(draws - good, seen - hits) - choose(draws, np.array(seen)))


@lru_cache(maxsize=1)
def log_factorials(most: int) -> NDArray[np.float64]:
    return gammaln(np.arange(most + 1) + 1.0)


@lru_cache
def limits(least: tuple[int, ...], draws: int) -> list[Limits]:
    found = []
    for seen in looks(draws):
        certified, missed = [], []
        for needed in least:
            # If one hit too few were among all draws, so many would be seen with probability ERROR at most.
            as_many = np.cumsum(hypergeometric(draws, needed - 1, seen)[::-1])
            certified.append(seen + 1 - np.searchsorted(as_many, ERROR, "right"))
            as_few = np.cumsum(hypergeometric(draws, min(needed, draws), seen))
            missed.append(seen if needed > draws else np.searchsorted(as_few, ERROR, "right") - 1)
        found.append(Limits(seen, np.array(certified), np.array(missed)))
    return found


def procedure(least: tuple[int, ...], radii: list[float], select_draws: int, draws: int) -> Procedure:
    votes = (yield Ask("select", 0, select_draws)).classes
    selected = int(votes.argmax())
    hits = before = 0
    for look in limits(least, draws):
        hits += int((yield Ask("estimate", before, look.seen - before)).classes[selected])
        before = look.seen
        certified = hits >= look.certified
        if (certified | (hits <= look.missed)).all():
            break
    reached = [radius for radius, found in zip(radii, certified.tolist(), strict=True) if found]
    predict = selected if reached else ABSTAIN
    found = {"selected": selected, "predict": predict, "radius": max(reached, default=0.0)}
    return {**found, "select_counts": votes.tolist(), "draws": look.seen, "hits": hits}


def images(ask: dict[str, Any], rows: list[int]) -> list[dict[str, Any]]:
    keep_freed_memory()
    part = data.load(ask["data"], "test").every(ask["every"], ask["limit"]).subset(rows)
    base = serve(models.load(ask["model"]).eval(), Form(**ask["form"]))
    noise = lattice(parse(f"gaussian:{ask['sigma']}"), part.levels)
    smoothed = Smoothed(base, noise, len(part.classes), ask["seed"])
    radii = [float(radius) for radius in ask["radii"].split(",")]
    least = least_hits(radii, sigma=ask["sigma"], draws=ask["draws"], alpha=ask["alpha"])
    indices = part.indices.tolist()
    asked = [procedure(least, radii, ask["select_draws"], ask["draws"]) for _ in indices]
    found = together(smoothed, asked, part.pixels(), indices)
    known = zip(indices, part.labels.tolist(), found, strict=True)
    return [{"index": index, "label": label, **one} for index, label, one in known]


def main() -> None:
    ask = json.loads(sys.argv[1])
    asked = fingerprint({name: value for name, value in ask.items() if name not in ("kept", "processes")})
    kept, part = (
        Path(ask["kept"]) / f"table-{asked[:12]}.jsonl",
        data.load(ask["data"], "test").every(ask["every"], ask["limit"]),
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    done = {line["index"]: line for line in read_lines(kept)}
    left = [row for row, index in enumerate(part.indices.tolist()) if index not in done]
    parts = [left[at : at + COMPANY] for at in range(0, len(left), COMPANY)]
    spawned = get_context("spawn")  # torch and its threads do not survive a fork
    with kept.open("ab+", buffering=0) as file, ProcessPoolExecutor(ask["processes"], spawned) as workers:
        drop_torn_line(file)
        for found in workers.map(partial(images, ask), parts):
            append(file, "".join(map(as_line, found)).encode())
            done |= {line["index"]: line for line in found}
    print(json.dumps({"form": ask["form"], "images": [done[index] for index in sorted(done)]}))


if __name__ == "__main__":
    main()
