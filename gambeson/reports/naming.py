"""How runs, bounds and noises are called in legends, headers and file names."""

import re
from typing import Any

from gambeson.reports.series import Attacked, Certified, Source

BOUNDS = {
    "gaussian": "Gaussian", "renyi": "Renyi", "dp": "DP", "laplace": "Laplace", "uniform": "uniform",
    "splitting": "splitting",
}  # fmt: skip
TIGHT = {"gaussian": "gaussian_l2", "laplace": "laplace_l1", "uniform": "uniform_l1", "splitting": "splitting_l1"}
NOT_STATED = "not stated"


def bound(certificate: str | None) -> str:
    """
    >>> bound("renyi_l2_two_sided"), bound(None)
    ('Renyi bound, two-sided', 'bound not stated')
    """
    if certificate is None:
        return "bound not stated"
    kind, _, rest = certificate.partition("_")
    return f"{BOUNDS.get(kind, kind)} bound" + (", two-sided" if rest.endswith("two_sided") else "")


def budget(series: Certified) -> str:
    """What tells a curve that is known at some radii only from one in full precision."""
    return "grid of radii" if series.grid is not None else ""


def two_sided(series: Certified) -> bool:
    return series.certificate is not None and series.certificate.endswith("_two_sided")


def tight(series: Certified) -> bool:
    """Whether this is the bound that headlines its evaluation: the tight, one-sided one, or what a log has."""
    kind = (series.noise or "").removeprefix("soft ").partition(":")[0]
    return series.certificate is None or series.certificate == TIGHT.get(kind)


def headlines(source: Source) -> list[Certified]:
    """One series per certified evaluation: the tight bound where it was computed, else the first."""
    found: dict[str, Certified] = {}
    for series in source.certified:
        if series.evaluation not in found or (tight(series) and not tight(found[series.evaluation])):
            found[series.evaluation] = series
    return list(found.values())


def smoothed_name(settings: dict[str, Any]) -> str:
    """What tells smoothed classifiers of one model apart: the noise, and "soft" where the mean score decides.

    >>> smoothed_name({"noise": "gaussian:0.5"}), smoothed_name({"noise": "gaussian:0.5", "smoothing": "soft"})
    ('gaussian:0.5', 'soft gaussian:0.5')
    """
    return f"soft {settings['noise']}" if settings.get("smoothing") == "soft" else str(settings["noise"])


def certified_name(source: Source, series: Certified) -> str:
    parts = source.name, series.noise or f"noise {NOT_STATED}", bound(series.certificate), budget(series)
    return ", ".join(part for part in parts if part)


def target_name(attacked: Attacked) -> str:
    settings = attacked.settings
    return "base" if settings["target"] == "base" else f"smoothed {settings['noise']}"


def radius_name(radius: float) -> str:
    """
    >>> radius_name(1.5), radius_name(36 / 255)
    ('1.5', '36/255')
    """
    return "36/255" if radius == 36 / 255 else f"{radius:.6g}"


def file_stem(*parts: str | None) -> str:
    """
    >>> file_stem("certified", "gaussian:0.5", None)
    'certified-gaussian-0.5'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(part for part in parts if part)).strip("-")
