"""Draws of a grid of radii against a fixed budget, and what it loses, on the probabilities of published logs.

    python benchmarks/draws.py derive 0.25=LOG 0.50=LOG 1.00=LOG --out results/draws/p.json
    python benchmarks/draws.py run results/draws/p.json --out results/draws
    python benchmarks/draws.py rules results/draws/p.json --out results/draws

A log holds radii: each image's lower bound on p_A with 3 digits, cut off at the largest radius that the budget allows.
`derive` inverts Clopper-Pearson to get p back; only these p are kept. `run` computes, exactly (no simulation), what the
plan does to an image of each p, for several prices of a radius, and beside it what any test with the same error
probabilities must draw at least: E[N] >= kl(P(certified), alpha) / KL(p, threshold) (Wald). `rules` compares the rules
at two caps, at the default price.

Images that the log abstains on have no p: they are put evenly between 1/4 and 1/2 ("spread"), or, as the worst case
that a log cannot rule out, all at 1/2 ("at one half"). Images at the cut-off are run at its p, or at 1 ("certain").
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from _written import markdown
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from gambeson.certificates.customary import customary
from gambeson.reports.logs import read_log
from gambeson.stats import PRICE, RULES, Plan, forecast, lower, plan

ALPHA, CAP, SELECT = 0.001, 100_000, 100
PRICES = (2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 3e7)
Floats = NDArray[np.float64]


def derive(logs: list[str]) -> dict[str, Any]:
    """Per sigma: p of every image (null: abstained), whether its answer is right, whether it is cut off."""
    found = {}
    for word in logs:
        sigma, _, path = word.partition("=")
        series = read_log(Path(path)).certified[0]
        counts = np.arange(CAP // 2, CAP + 1)
        bounds = np.asarray(lower(counts, CAP, ALPHA))
        p = np.interp(ndtr(series.radius / float(sigma)), bounds, counts) / CAP
        abstained = series.images.predict == -1
        found[sigma] = {
            "p": [None if no else round(float(value), 6) for value, no in zip(p, abstained, strict=True)],
            "right": [bool(right) for right in series.images.correct],
            "cut_off": [bool(cut) for cut in ndtr(series.radius / float(sigma)) >= bounds[-1]],
        }
    return found


def probabilities(images: dict[str, Any], variant: str) -> Floats:
    p = np.array([np.nan if value is None else value for value in images["p"]])
    missing = np.isnan(p)
    p[missing] = 0.5 if variant == "at one half" else np.linspace(0.25, 0.5, int(missing.sum()))
    if variant != "certain":
        p[np.array(images["cut_off"])] = lower(CAP, CAP, ALPHA)
    return p


def grid_of(sigma: float, cap: int) -> list[float]:
    """What `gambeson certify` takes for CIFAR-10 by itself, as far as unanimous draws certify it."""
    largest = sigma * float(ndtri(lower(cap, cap, ALPHA)))
    return [radius for radius in customary("cifar10", "l2", largest) if radius < largest]


def foretold(made: Plan, p: Floats) -> tuple[Floats, Floats]:
    """Expected draws (images,), selection apart, and chances of certifying (images, thresholds)."""
    known = {value: forecast(made, value) for value in set(p.tolist())}
    draws = np.array([known[value].draws for value in p.tolist()])
    return draws, np.stack([known[value].certified for value in p.tolist()])


def measure(sigma: float, images: dict[str, Any], variant: str, price: float) -> dict[str, Any]:
    radii = grid_of(sigma, CAP)
    made = plan(ndtr(np.array(radii) / sigma), alpha=ALPHA, cap=CAP, price=price)
    p, right = probabilities(images, variant), np.array(images["right"])
    wrong = ~right & np.array([value is not None for value in images["p"]])
    draws, certified = foretold(made, p)
    fixed = np.stack([binom.cdf(most, CAP, 1 - p) for most in fixed_limits(made)], 1)
    least = np.array([least_draws(made, value, row) for value, row in zip(p.tolist(), certified, strict=True)])
    loss = ((fixed - certified) * right[:, None]).mean(0)
    return {
        "sigma": sigma,
        "variant": variant,
        "price": price,
        "images": len(p),
        "draws_mean": round(float(draws.mean() + SELECT), 1),
        "ratio": round((CAP + SELECT) / float(draws.mean() + SELECT), 2),
        "ratio_stop_wrong": round((CAP + SELECT) / float(np.where(wrong, 0, draws).mean() + SELECT), 2),
        "least_draws_mean": round(float(least.mean() + SELECT), 1),
        "largest_loss": round(float(loss.max()), 5),
        "radii": radii,
        "loss": [round(float(value), 5) for value in loss],
        "certified_accuracy_fixed": [round(float(value), 4) for value in (fixed * right[:, None]).mean(0)],
    }


def fixed_limits(made: Plan) -> list[int]:
    """The most misses with which a fixed budget's Clopper-Pearson bound reaches each threshold."""
    found = []
    for threshold in made.thresholds:
        most = int(binom.ppf(ALPHA, CAP, 1 - threshold))
        found.append(most if lower(CAP - most, CAP, ALPHA) >= threshold else most - 1)
    return found


def least_draws(made: Plan, p: float, certified: Floats) -> float:
    """Wald's bound for the threshold that costs most, given this plan's own chances of certifying."""
    bounds = [0.0]
    for threshold, power in zip(made.thresholds, np.minimum(certified, 1).tolist(), strict=True):
        if p > threshold and power > ALPHA:
            bounds.append(divergence(power, ALPHA) / divergence(p, threshold))
    return max(bounds)


def divergence(a: float, b: float) -> float:
    """Kullback-Leibler divergence of two coins."""
    first = a * np.log(a / b) if a > 0 else 0.0
    return float(first + ((1 - a) * np.log((1 - a) / (1 - b)) if a < 1 else 0.0))


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    for colour, sigma in zip(("#0072b2", "#d55e00", "#009e73"), sorted({row["sigma"] for row in rows}), strict=False):
        line = [row for row in rows if row["sigma"] == sigma and row["variant"] == "spread"]
        loss = [100 * row["largest_loss"] for row in line]
        axes.plot(loss, [row["draws_mean"] for row in line], "o-", color=colour, label=f"sigma {sigma}")
        axes.plot(
            loss, [row["least_draws_mean"] for row in line], ":", color=colour, label=f"sigma {sigma}, Wald's bound"
        )
    axes.axvline(0.2, color="black", linewidth=0.8, linestyle="--", label="0.2 points")
    axes.set(xlabel="largest loss at a radius (points of certified accuracy)", ylabel="draws an image", yscale="log")
    axes.legend(fontsize=7, frameon=False)
    for suffix in ("svg", "png"):
        figure.savefig(out / f"draws.{suffix}", dpi=160)


def table(rows: list[dict[str, Any]]) -> str:
    """The prices around the default; draws.json has all."""
    head = ["sigma", "abstained images", "price", "draws an image", "times fewer than 100,000", "with --stop-wrong"]
    lines = [[*head, "Wald's bound", "largest loss (points)"]]
    for row in (row for row in rows if row["price"] in (1e6, 5e6)):
        cells = [row["sigma"], row["variant"], f"{row['price']:,.0f}", f"{row['draws_mean']:,.0f}", row["ratio"]]
        cells += [row["ratio_stop_wrong"], f"{row['least_draws_mean']:,.0f}", f"{100 * row['largest_loss']:.2f}"]
        lines.append([str(cell) for cell in cells])
    return markdown(lines)


def compare(sigma: float, images: dict[str, Any], rule: str, cap: int) -> dict[str, Any]:
    """The mean draws and certified accuracies of one rule, abstained images spread."""
    radii = grid_of(sigma, cap)
    made = plan(ndtr(np.array(radii) / sigma), alpha=ALPHA, cap=cap, rule=rule, price=PRICE)
    p, right = probabilities(images, "spread"), np.array(images["right"])
    draws, certified = foretold(made, p)
    return {
        "sigma": sigma,
        "cap": cap,
        "rule": rule,
        "draws_mean": round(float(draws.mean()) + SELECT, 1),
        "radii": radii,
        "certified_accuracy": [round(float(value), 5) for value in (certified * right[:, None]).mean(0)],
    }


def rules_table(rows: list[dict[str, Any]]) -> str:
    lines = [["sigma", "at most", "rule", "draws an image", "sum of certified accuracies over the grid (points)"]]
    for row in rows:
        total = 100 * sum(row["certified_accuracy"])
        lines.append([str(row["sigma"]), f"{row['cap']:,}", row["rule"], f"{row['draws_mean']:,.0f}", f"{total:.2f}"])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    deriving = commands.add_parser("derive")
    deriving.add_argument("logs", nargs="+", metavar="SIGMA=LOG")
    running = commands.add_parser("run")
    running.add_argument("p", type=Path)
    running.add_argument("--prices", nargs="*", type=float, default=PRICES)
    comparing = commands.add_parser("rules")
    comparing.add_argument("p", type=Path)
    for command in (deriving, running, comparing):
        command.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    if chosen.command == "derive":
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(derive(chosen.logs)) + "\n")
        return
    images = json.loads(chosen.p.read_text())
    chosen.out.mkdir(parents=True, exist_ok=True)
    told = {"command": "python benchmarks/draws.py " + " ".join(sys.argv[1:]), "alpha": ALPHA}
    if chosen.command == "rules":
        rows = [compare(float(s), p, rule, cap) for s, p in images.items() for cap in (CAP, 10_000) for rule in RULES]
        (chosen.out / "rules.json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")
        (chosen.out / "rules.md").write_text(rules_table(rows))
        print(rules_table(rows))
        return
    rows = [
        measure(float(sigma), found, variant, price)
        for sigma, found in images.items()
        for variant in ("spread", "at one half", "certain")
        for price in chosen.prices
    ]
    result = {**told, "cap": CAP, "rows": rows}
    (chosen.out / "draws.json").write_text(json.dumps(result, indent=1) + "\n")
    (chosen.out / "draws.md").write_text(table(rows))
    draw(rows, chosen.out)
    print(table(rows))


if __name__ == "__main__":
    main()
