"""Every bound as a function of p alone: radius in units of the noise's scale."""

from collections.abc import Sequence

import numpy as np

from gambeson.certificates import CERTIFICATES
from gambeson.reports.charts import Chart, Line, caption
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.naming import bound
from gambeson.reports.series import Source
from gambeson.reports.tables import Column, Table

SHOWN = (0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999, 0.9999, 0.99999)
SCALES = {"gaussian": "sigma", "laplace": "scale", "uniform": "half-width", "splitting": "half-width"}


def bounds(sources: Sequence[Source]) -> Section | None:
    """One figure for each norm that some source was certified in."""
    norms = dict.fromkeys(series.norm for source in sources for series in source.certified)
    exhibits = [_exhibit(norm) for norm in norms]
    if not exhibits:
        return None
    text = [
        "What each bound makes of a probability p that the top class is answered, where the runner-up may have all "
        "of 1 − p. A difference between two bounds here is the bound's alone, whatever the training.",
    ]
    return Section("bounds", "The bounds themselves", text, exhibits)


def _exhibit(norm: str) -> Exhibit:
    found = [certificate for certificate in CERTIFICATES.values() if certificate.norm == norm]
    tail = np.geomspace(0.5, 1e-5, 241)
    depth = -np.log10(2 * tail)
    lines = [
        Line(
            f"{bound(c.name)} (radius / {SCALES[c.noise]})",
            depth,
            np.asarray(c.radius(1 - tail, None, 1.0)),
            "smooth",
            n,
            n,
        )
        for n, c in enumerate(found)
    ]
    chart = Chart(
        title=f"{norm} radius over the noise's scale against the probability of the top class",
        x_label="p, lower bound on the probability of the top class",
        y_label=f"{norm} radius / scale of the noise",
        lines=lines,
        y_limits=None,
        x_ticks=[(float(-np.log10(2 * (1 - p))), f"{p:g}") for p in SHOWN if p not in (0.6, 0.7)],
    )
    columns = [Column("p", "setting")]
    columns += [Column(f"{bound(c.name)}: {norm} radius / {SCALES[c.noise]}", "radius") for c in found]
    rows = [[p, *(float(c.radius(p, None, 1.0)) for c in found)] for p in SHOWN]
    return Exhibit(f"bound-against-p-{norm}", caption(chart), Table(columns, rows), chart)
