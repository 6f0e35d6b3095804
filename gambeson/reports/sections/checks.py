"""Verdicts of the checks, in their own words."""

from collections.abc import Sequence

from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.series import Source
from gambeson.reports.tables import Column, Table


def checks(sources: Sequence[Source]) -> Section | None:
    """One row per check and run; doubts and failures first."""
    order = {"fail": 0, "doubt": 1, "not_run": 2, "pass": 3}
    found = [(source, check) for source in sources for check in source.checks]
    if not found:
        return None
    columns = [
        *(
            Column("run"),
            Column("check"),
            Column("verdict"),
            Column("value", "setting"),
            Column("threshold", "setting"),
        ),
        *(Column("what it means"), Column("next step")),
    ]
    names = ("check", "verdict", "value", "threshold", "meaning", "next_step")
    found.sort(key=lambda pair: order[pair[1]["verdict"]])
    found = [(source, {**check, "next_step": None} if check["verdict"] == "pass" else check) for source, check in found]
    rows = [[source.name, *(check.get(name) for name in names)] for source, check in found]
    verdicts = [check["verdict"] for _, check in found]
    tally = ", ".join(
        f"{verdicts.count(verdict)} {verdict.replace('_', ' ')}" for verdict in order if verdict in verdicts
    )
    caption = f"Checks: {tally}."
    text = [
        "A check that passes does not prove that an evaluation can be trusted; one that fails shows that it cannot."
    ]
    return Section("checks", "Can these numbers be trusted?", text, [Exhibit("checks", caption, Table(columns, rows))])
