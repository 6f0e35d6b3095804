"""From what `certify.py` measured to its numbers and tables."""

from pathlib import Path
from statistics import mean, median
from typing import Any

from _written import markdown

Side = dict[str, Any]
Rows = list[tuple[Any, ...]]
LABELS = {"published": "the published procedure", "art": "adversarial-robustness-toolbox"}
WITH, WITHOUT = "grid", "grid float32"
TOLERANCE = 0.002  # of a cell of the table: one image of 500
STEPS = {
    "loop": "sampling loop, same form but for folded batch norm",
    "form": "inference form in float32",
    "bf16": "bf16",
    "processes": "the grid's batch and torch.compile; processes, not threads",
    "processes float32": "the grid's batch and torch.compile; processes, not threads",
}
CHAINS = {
    WITH: ("loop", "form", "bf16", "processes"),
    WITHOUT: ("loop", "form", "processes float32"),
}


def summary(sides: dict[str, Side], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that the tables say, and what they are made of.

    Seconds of the peers, of Gambeson's fixed budget, and of a grid that was given some of the images, are those of
    their images, extrapolated to all; of a grid that was given all, the whole process's. A rate counts all draws, those
    that pick the class too.
    """
    grid = {name: rounds(sides, name) for name in (WITH, WITHOUT)}
    number, whole = len(grid[WITH][0]["images"]), settings["draws"] + settings["select_draws"]
    names = [name for peer in LABELS if f"{peer} 0" in sides for name in (peer, f"{peer} small")]
    peers = {name: rounds(sides, name) for name in names}
    seconds = {name: number * image_seconds(found) for name, found in peers.items()}
    steps = {name: rounds(sides, name) for name in STEPS if f"{name} 0" in sides}
    rates = {name: whole / image_seconds(found) for name, found in (peers | steps).items()}
    last = [step for step in CHAINS[WITH] if step in steps][-1]
    started = median(side["seconds"] - busy(side) for side in steps[last])
    seconds["fixed"] = number * image_seconds(steps[last]) + started
    seconds |= {name: mean(sum(for_all(side, number)) for side in found) for name, found in grid.items()}
    shown = {name: table(found[0]["images"], settings["radii"]) for name, found in grid.items()}
    reference, same_draws = sides["table"]["images"], sides["same draws"]["images"]
    shown |= {"fixed": table(reference, settings["radii"]), "same draws": table(same_draws, settings["radii"])}
    differences = {name: disagreement(found[0]["images"], reference, settings["radii"]) for name, found in grid.items()}
    differences["same draws"] = disagreement(grid[WITH][0]["images"], same_draws, settings["radii"])
    peak = peers | {"fixed": steps[last]} | grid
    return {
        "images": number,
        "seconds": seconds,
        "counting_seconds": {name: mean(for_all(side, number)[0] for side in found) for name, found in grid.items()},
        "spread": {name: [side["seconds"] for side in found] for name, found in grid.items()},
        "times": {peer: {name: seconds[peer] / seconds[name] for name in ("fixed", *grid)} for peer in peers},
        "factors": {name: factors(grid[name], steps, rates, name, whole, number) for name in grid},
        "peak_megabytes": {name: max(side["peak_megabytes"] for side in found) for name, found in peak.items()},
        "grid_images": {name: len(found[0]["images"]) for name, found in grid.items()},
        "draws_mean": {name: mean(image["draws"] for image in found[0]["images"]) for name, found in grid.items()},
        "draws_per_second": rates,
        "forward_per_second": sides["forward"]["rate"],
        "forward_kept": rates["bf16"] / sides["forward"]["rate"],
        "forms": {name: found[0]["form"] for name, found in (steps | grid | {"table": [sides["table"]]}).items()},
        "batch_sizes": {name: found[0]["batch_size"] for name, found in peers.items()},
        "tried": {name: sides[f"{name} trial"]["rates"] for name in LABELS if name in peers},
        "certified_accuracy": shown,
        "largest_difference": differences,
        "same_table": {name: difference <= TOLERANCE + 1e-9 for name, difference in differences.items()},
        "agreement": {name: agreement(found, reference, settings["radii"]) for name, found in peers.items()},
    }


def rounds(sides: dict[str, Side], name: str) -> list[Side]:
    return [side for key, side in sides.items() if key.rpartition(" ")[0] == name and key[-1].isdigit()]


def image_seconds(found: list[Side]) -> float:
    """Of one image, where all draw alike: the median, divided among the processes."""
    return median(image["seconds"] / side.get("workers", 1) for side in found for image in side["images"])


def busy(side: Side) -> float:
    """Seconds that sampling took, of the whole process's."""
    return float(sum(image["seconds"] for image in side["images"]) / side["workers"])


def for_all(side: Side, number: int) -> tuple[float, float]:
    """Seconds that sampling so many images takes, and what the process takes beside."""
    return busy(side) * number / len(side["images"]), side["seconds"] - busy(side)


def factors(
    grid: list[Side], steps: dict[str, list[Side]], rates: dict[str, float], name: str, whole: int, number: int
) -> dict[str, float]:
    """What each step from the published procedure to this grid is worth; their product is "together"."""
    found, before = {}, rates["published"]
    for step in (step for step in CHAINS[name] if step in steps):
        found[STEPS[step]], before = rates[step] / before, rates[step]
    draws = sum(number * mean(image["draws"] for image in side["images"]) for side in grid)
    working, beside = map(sum, zip(*(for_all(side, number) for side in grid), strict=True))
    found["images share calls"] = draws / working / before
    found["fewer draws"] = whole * number * len(grid) / draws
    found["start-up and idle processes"] = working / (working + beside)
    together = 1.0
    for factor in found.values():
        together *= factor
    return found | {"together": together}


def table(images: list[Side], radii: str) -> dict[str, float]:
    """Certified accuracy at each radius."""
    right = [image["radius"] for image in images if image["predict"] == image["label"]]
    return {word: sum(radius >= float(word) for radius in right) / len(images) for word in radii.split(",")}


def disagreement(images: list[Side], reference: list[Side], radii: str) -> float:
    """The largest difference of a cell between the table of these images and the reference's, of the same images."""
    known = {image["index"]: image for image in reference}
    found, expected = table(images, radii), table([known[image["index"]] for image in images], radii)
    return max(abs(found[radius] - expected[radius]) for radius in found)


def agreement(found: list[Side], reference: list[Side], radii: str) -> dict[str, int]:
    """What a peer itself found on its images, beside what stands for it."""
    known, grid = {image["index"]: image for image in reference}, [float(word) for word in radii.split(",")]
    pairs = [(image, known[image["index"]]) for side in found for image in side["images"]]
    return {
        "images": len(pairs),
        "same_class": sum(one["predict"] == other["predict"] for one, other in pairs),
        "same_radius": sum(
            max((r for r in grid if r <= one["radius"]), default=0.0) == other["radius"] for one, other in pairs
        ),
    }


def write_tables(found: dict[str, Any], out: Path) -> None:
    (out / "speed.md").write_text(speed(found))
    (out / "factors.md").write_text(steps_table(found))
    (out / "radii.md").write_text(radii_table(found))
    (out / "differences.md").write_text(differences_table(found))
    (out / "batches.md").write_text(batches_table(found))


def speed(found: dict[str, Any]) -> str:
    ours = {WITH: "grid", WITHOUT: in_float32(found), "fixed": "fixed budget"}
    sizes = found["batch_sizes"].items()
    names = {f"{LABELS[name.removesuffix(' small')]}, batches of {size:,}": name for name, size in sizes}
    names |= {f"Gambeson, {label}": name for name, label in ours.items()}
    head = (f"{found['images']:,} images", "seconds", "images a second", "peak megabytes", "times the published")
    rows: Rows = [(*head, *(f"times the seconds of {label}" for label in ours.values()))]
    for label, name in names.items():
        seconds, peak = found["seconds"][name], found["peak_megabytes"]
        cells = (label, f"{seconds:,.0f}", f"{found['images'] / seconds:.3g}", f"{peak[name]:,}")
        cells += (f"{peak[name] / peak['published']:.1f}",)
        rows.append((*cells, *(f"{seconds / found['seconds'][other]:.1f}" for other in ours)))
    return markdown(rows)


def steps_table(found: dict[str, Any]) -> str:
    rows: Rows = [("", "with bf16", "without")]
    for step, factor in found["factors"][WITH].items():
        other = found["factors"][WITHOUT].get(step)
        rows.append((step, f"{factor:.2f}", "" if other is None else f"{other:.2f}"))
    return markdown(rows)


def radii_table(found: dict[str, Any]) -> str:
    shown = found["certified_accuracy"]
    rows: Rows = [("radius", *shown["fixed"])]
    published, same = ("fixed budget, as published", "fixed"), ("fixed budget, the grid's form and draws", "same draws")
    for label, name in (published, same, ("grid", WITH), (in_float32(found), WITHOUT)):
        rows.append((label, *(f"{share:.3f}" for share in shown[name].values())))
    return markdown(rows)


def differences_table(found: dict[str, Any]) -> str:
    published = "a fixed budget as published, in float32, on other noise"
    rows: Rows = [("", "beside", "largest difference of a cell", f"all within {TOLERANCE:.3f}")]
    for name, ours, other in (
        ("same draws", "grid", "a fixed budget in its form, on its draws"),
        (WITH, "grid", published),
        (WITHOUT, in_float32(found), published),
    ):
        within = "yes" if found["same_table"][name] else "no"
        rows.append((ours, other, f"{found['largest_difference'][name]:.3f}", within))
    return markdown(rows)


def in_float32(found: dict[str, Any]) -> str:
    few = found["grid_images"][WITHOUT]
    return "grid, float32" + (f", of {few:,} images" if few < found["images"] else "")


def batches_table(found: dict[str, Any]) -> str:
    """Of the peers' trial: one image, few draws."""
    first = next(iter(found["tried"].values()))
    rows: Rows = [("draws a second, by batch size", *(f"{int(size):,}" for size in first))]
    rows += [(LABELS[name], *(f"{rate:,.0f}" for rate in rates.values())) for name, rates in found["tried"].items()]
    return markdown(rows)
