"""Can this evaluation be trusted? Each check reads records: a number, a threshold, a verdict, what it means, what
to do next.

pass, doubt (look closer before you quote the number), fail (the number is wrong), not_run (the records it needs
are missing).
"""

from collections.abc import Sequence
from typing import Any

from gambeson.checks.check import Check
from gambeson.checks.conflicts import Rejudge, certified_not_above_attacked
from gambeson.checks.contract import model_contract
from gambeson.checks.weak_attacks import (
    one_step_not_better,
    step_size_within_eps,
    steps_span_the_ball,
    success_grows_with_eps,
)
from gambeson.records import Run


def run_checks(run: Run, rejudge: Rejudge | None = None, flags: Sequence[Any] = ()) -> list[Check]:
    """All checks that exist, on everything that a run has recorded; `flags` are the doubts of `models.guards`."""
    return [
        model_contract(flags),
        certified_not_above_attacked(run, rejudge),
        success_grows_with_eps(run),
        one_step_not_better(run),
        step_size_within_eps(run),
        steps_span_the_ball(run),
    ]
