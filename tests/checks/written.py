"""Records made up for the checks, written through the writer that real runs use."""

from typing import Any

from gambeson.records import Run

HEADER: dict[str, Any] = {
    "name": "run", "method": None, "method_settings": None, "dataset": "toy", "model": None, "classes": ["a", "b"],
    "shape": [1, 2, 2], "levels": 255, "seed": None, "model_hash": "m", "data_hash": None, "versions": {},
    "device": "cpu", "threads": 1,
}  # fmt: skip
DATA = {"dataset": "toy", "split": "test", "rule": "all test images", "levels": 255, "fingerprint": "f"}
FORM = {"dtype": "float32", "memory": "contiguous", "batch": 100, "threads": 1, "device": "cpu"}
CERTIFIED: dict[str, Any] = {
    "noise": "gaussian:0.5", "select_draws": 10, "draws": 100, "alpha": 0.001, "budget": "fixed", "seed": 0,
    "block": 100, "form": FORM, "tau": 1e-9, "max_radius": {"gaussian_l2": 1.0}, "rounding_distance": {"l2": 0.1},
}  # fmt: skip
IMAGES = 250
BUDGET = {
    "steps": 1000, "restarts": 20, "restart_steps": 50, "eps_steps": 20, "climb_steps": 100, "queries": 1000,
    "samples": 128, "transfer_steps": 100, "noise_draws": 10_000, "directions": 100, "radius": 4 / 255,
    "linearity_restarts": 5, "linearity_steps": 50,
}  # fmt: skip


def attack(eps: float = 0.1, **changed: Any) -> dict[str, Any]:
    settings = {
        "attack": "pgd", "target": "base", "norm": "linf", "eps": eps, "steps": 20, "step_size": eps / 10,
        "step_rule": "sign", "loss": "cross_entropy", "restarts": 1, "random_start": True, "early_stop": True,
        "step_rule_settings": {}, "targets_hash": None, "batch": 50,
        "projection": "exact", "box": (0.0, 1.0), "targeted": None, "noise": None, "attack_draws": None,
        "redraw": None, "predict_draws": None, "predict_alpha": None, "seed": 0, "form": None,
    }  # fmt: skip
    return {**settings, **changed}


def smoothed(eps: float = 0.3, **changed: Any) -> dict[str, Any]:
    more = {"target": "smoothed", "noise": "gaussian:0.5", "attack_draws": 16, "redraw": False, "predict_draws": 1000}
    return attack(eps, **{"norm": "l2", **more, "predict_alpha": 0.001, "form": FORM, **changed})


def common(index: int) -> dict[str, Any]:
    return {"index": index, "hash": f"hash {index}", "label": 1, "seconds": 0.1}


def write(
    run: Run, kind: str, settings: dict[str, Any], records: list[dict[str, Any]], machine: dict[str, Any] | None = None,
    images: int = IMAGES,
):  # fmt: skip
    with run.writing() as writer:
        evaluation = writer.evaluation(kind, settings, DATA, images, "gambeson", "2026-01-01T00:00:00", machine)
        for record in records:
            evaluation.append(record)


def attacked(
    run: Run, settings: dict[str, Any], fooled: int | set[int], images: int = IMAGES, start: int = 0,
    machine: dict[str, Any] | None = None, **changed,
):  # fmt: skip
    """Records of an attack that fools the first so many images, or these."""
    chosen = set(range(fooled)) if isinstance(fooled, int) else fooled
    records = []
    for index in range(start, start + images):
        success = index in chosen
        fields = {"predict_clean": 1, "predict": 0 if success else 1, "correct": not success, "success": success}
        fields |= {"loss": 1.0, "distance": (settings["eps"] or 0) * 0.99, "target": None}
        records.append({**common(index), **fields, **changed})
    write(run, "attacked", settings, records, machine)


def certified(
    run: Run, radius: float = 0.5, settings: dict[str, Any] | None = None, machine: dict[str, Any] | None = None,
    **changed: Any,
) -> None:  # fmt: skip
    radii = {"gaussian_l2": radius, "renyi_l2": radius / 2, "gaussian_l2_two_sided": 9.0}
    fields = {
        "predict": 1,
        "correct": True,
        "reason": None,
        "selected": 1,
        "select_counts": [0, 10],
        "counts": [0, 100],
    }
    fields |= {"nonfinite": 0, "p_lower": 0.9, "p_lower_two_sided": 0.9, "p_upper_two_sided": 0.1}
    fields |= {"radii": {**radii, "gaussian_l2": radius + 1}, "radii_real": radii}
    records = [{**common(i), **fields, **changed} for i in range(IMAGES)]
    write(run, "certified", settings or CERTIFIED, records, machine)


def diagnosed(
    run: Run, changed: dict[str, Any] | None = None, images: int = IMAGES, all_alike: bool = False,
    written: int | None = None, budget: dict[str, int] | None = None, **settings: Any,
) -> None:  # fmt: skip
    """An honest diagnosis: a fifth of the images fall, early; `changed`: fields of the first 80 records that do not, or
    of all. written: how many of the images have a record.
    """
    about = {
        "target": "base", "norm": "linf", "eps": 0.1, "multiples": [0.25, 0.5, 1.0, 2.0],
        "budget": {**BUDGET, **(budget or {})},
        "source": None, "batch": 50, "noise": None, "attack_draws": None, "predict_draws": None,
        "predict_alpha": None, "seed": 0, "form": None, **settings,
    }  # fmt: skip
    records = []
    for index in range(images):
        fell = index >= images - images // 5
        fields = {
            "predict": 1, "correct": True, "one_step": fell, "after_steps": 3 if fell else None,
            "after_restarts": 1 if fell else None, "by_eps": [False, fell, fell, fell or index % 2 == 0],
            "black_box": None, "random_noise": False, "unavailable": False, "unstable": 0.02, "silent": False,
            "incomplete": 0.001, "unlimited": False, "fooled": fell,
            "fooled_again": fell if settings.get("noise") else None, "fooled_rounded": True if fell else None,
            "gamma": 0.1, "loss": 0.2,
        }  # fmt: skip
        records.append({**common(index), **fields, **(changed or {} if index < 80 or all_alike else {})})
    write(run, "diagnosed", about, records[:written], images=images)
