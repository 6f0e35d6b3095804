"""Can this evaluation be trusted? Each check reads records: a number, a threshold, a verdict, what it means, what
to do next.

pass, doubt (look closer before you quote the number), fail (the number is wrong), not_run (the records it needs
are missing).
"""

from collections.abc import Sequence
from typing import Any

from gambeson.checks import comparisons
from gambeson.checks.check import Check
from gambeson.checks.conflicts import Rejudge, certified_not_above_attacked
from gambeson.checks.contract import model_contract
from gambeson.checks.diagnosed import SIGNS, diagnosed
from gambeson.checks.read_once import read_once
from gambeson.checks.settings import dlr_has_classes, eps_in_pixel_units, step_size_within_eps, steps_span_the_ball
from gambeson.records import Run

_COMPARED = {
    "one_step_not_better": comparisons.one_step,
    "black_box_not_better": comparisons.black_boxes,
    "random_noise_finds_nothing": comparisons.random_noise,
    "success_grows_with_eps": comparisons.growing_eps,
    "survives_rounding": comparisons.rounded,
}


def run_checks(
    run: Run, rejudge: Rejudge | None = None, flags: Sequence[Any] = (), std: Sequence[float] = ()
) -> list[Check]:
    """All checks that exist, on everything that a run has recorded.

    flags: the doubts of `models.guards`; std: by which the model divides its channels, if it does.
    """
    run = read_once(run)
    signs = [diagnosed(run, name, _COMPARED[name](run) if name in _COMPARED else ()) for name in SIGNS]
    settings = [step_size_within_eps(run), steps_span_the_ball(run), eps_in_pixel_units(run, std), dlr_has_classes(run)]
    return [model_contract(flags), certified_not_above_attacked(run, rejudge), *signs, *settings]
