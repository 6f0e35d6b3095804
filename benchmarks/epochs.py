"""How long a recipe takes on this machine: seconds an epoch, by the difference of a longer and a shorter training.

    python benchmarks/epochs.py mnist-plain mnist-stability-0.50 --out results/benchmarks/epochs.json

Everything that does not grow with the epochs (start-up, data, the measured ratio to plain training) cancels.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from _written import origin

from gambeson import recipe as recipes


def seconds(recipe: str, epochs: int, settings: list[str]) -> float:
    """Wall-clock time of `gambeson train` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gambeson", "train", recipe, "--out", f"{folder}/run"]
        for setting in [*settings, f"train.epochs={epochs}"]:
            command += ["--set", setting]
        start = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--epochs", nargs=2, type=int, default=[1, 4], metavar=("FEW", "MANY"))
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    few, many = chosen.epochs
    rows = []
    for name in chosen.recipes:
        start, end = (seconds(name, epochs, chosen.settings) for epochs in chosen.epochs)
        epoch, epochs = (end - start) / (many - few), recipes.load(name, chosen.settings).train.epochs
        whole = (start + (epochs - few) * epoch) / 60
        rows.append(
            {"recipe": name, "seconds_an_epoch": round(epoch, 2), "epochs": epochs, "minutes_in_all": round(whole, 1)}
        )
    result = {
        **origin(),
        "training": rows,
    }
    print(json.dumps(result, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
