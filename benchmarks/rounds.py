"""Draws of a budget for a whole table, by its error, on the probabilities of published logs.

    python benchmarks/rounds.py results/draws/p.json --out results/draws

The rounds are played with images of these p (`gambeson.stats.played`), with the seeds 0 to 2: the same numbers every
time. Beside it, exactly, what an image takes by itself at the default price. In both, images whose class is wrong get
no draws. The p are made by `benchmarks/draws.py`; images that a log abstains on are put evenly between 1/4 and 1/2.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _written import markdown
from draws import ALPHA, CAP, SELECT, grid_of, probabilities
from scipy.special import ndtr

from gambeson.stats import PRICE, forecast, plan, played, table

ERRORS, GAMES = (0.05, 0.02, 0.01, 0.005), range(3)


def measure(sigma: float, images: dict[str, Any], error: float) -> dict[str, Any]:
    alone = plan(ndtr(np.array(grid_of(sigma, CAP)) / sigma), alpha=ALPHA, cap=CAP, price=PRICE)
    whole, total = table(alone, len(images["p"]), error, "group_sequential"), len(images["p"])
    abstained = np.array([value is None for value in images["p"]])
    p = probabilities(images, "spread")[np.array(images["right"]) | abstained]
    games = [played(whole, p, np.random.default_rng(seed)) for seed in GAMES]
    draws = float(np.mean([sum(alone.looks[max(one.look, 0)] for one in game) / total for game in games])) + SELECT
    known = {value: forecast(alone, value).draws for value in set(p.tolist())}
    return {
        "sigma": sigma,
        "error": error,
        "images": total,
        "draws_mean": round(draws, 1),
        "ratio": round((CAP + SELECT) / draws, 2),
        "largest_undecided": round(max(whole.undecided(game).max() for game in games) / total, 5),
        "draws_mean_by_price": round(sum(known[value] for value in p.tolist()) / total + SELECT, 1),
    }


def printed(rows: list[dict[str, Any]]) -> str:
    head = ["sigma", "table error", "draws an image", "times fewer than 100,000", "largest undecided share of a cell"]
    lines = [[*head, "draws an image by the default price, --stop-wrong"]]
    for row in rows:
        cells = [str(row["sigma"]), f"{row['error']:g}", f"{row['draws_mean']:,.0f}", str(row["ratio"])]
        lines.append([*cells, f"{row['largest_undecided']:.3f}", f"{row['draws_mean_by_price']:,.0f}"])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("p", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    images = json.loads(chosen.p.read_text())
    rows = [measure(float(sigma), found, error) for sigma, found in images.items() for error in ERRORS]
    chosen.out.mkdir(parents=True, exist_ok=True)
    told = {"command": "python benchmarks/rounds.py " + " ".join(sys.argv[1:]), "alpha": ALPHA, "cap": CAP}
    (chosen.out / "rounds.json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")
    (chosen.out / "rounds.md").write_text(printed(rows))
    print(printed(rows))


if __name__ == "__main__":
    main()
