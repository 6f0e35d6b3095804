"""Schedules: functions of progress in [0, 1]. The trainer turns them into numbers before it calls a loss."""

from collections.abc import Mapping
from math import cos, isfinite, pi
from typing import Any

from gambeson.errors import UserError
from gambeson.recipe import Schedule

START, END = 0.04, 1e-4  # one_cycle's first and last factor; a warmup begins at a hundredth
WARMUP_START = 0.01
KEYS = {"from", "to", "start", "until"}


def lr_factor(schedule: Schedule, progress: float) -> float:
    """What the base learning rate is multiplied with.

    constant: 1.  step: factor^(milestones passed).  cosine: (1 + cos(pi q)) / 2.  All three begin with a linear
    warmup from 0.01 over the first `warmup` of the run (q is the progress after it).  one_cycle: 0.04 up to 1,
    linear, over `warmup`, then down to 0.0001 by half a cosine.

    >>> lr_factor(Schedule(lr="step", milestones=[0.5]), 0.5)
    0.1
    """
    warmup = schedule.warmup
    if warmup and progress < warmup:
        start = START if schedule.lr == "one_cycle" else WARMUP_START
        return start + (1 - start) * progress / warmup
    rest = (progress - warmup) / (1 - warmup)
    if schedule.lr == "constant":
        return 1.0
    if schedule.lr == "step":
        return float(schedule.factor ** sum(progress >= milestone - 1e-9 for milestone in schedule.milestones))
    wave = (1 + cos(pi * rest)) / 2
    return wave if schedule.lr == "cosine" else END + (1 - END) * wave


def value(setting: Any, progress: float) -> Any:
    """A method's key at `progress`: a table {from, to, start=0, until=1} is linear between start and until.

    >>> value({"from": 0.0, "to": 2.0, "until": 0.5}, 0.25), value("gaussian", 0.25)
    (1.0, 'gaussian')
    """
    if not isinstance(setting, Mapping):
        return setting
    start, until = setting.get("start", 0.0), setting.get("until", 1.0)
    part = min(1.0, max(0.0, (progress - start) / (until - start)))
    return setting["from"] + (setting["to"] - setting["from"]) * part


def values(settings: Mapping[str, Any], progress: float) -> dict[str, Any]:
    """Every key of a method at `progress`."""
    return {name: value(setting, progress) for name, setting in settings.items()}


def check(name: str, setting: Any) -> None:
    """Refuse a schedule table that `value` cannot evaluate."""
    if not isinstance(setting, Mapping):
        return
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v) for v in setting.values())
    start, until = setting.get("start", 0.0), setting.get("until", 1.0)
    if not ({"from", "to"} <= set(setting) <= KEYS and numbers and 0 <= start < until <= 1):
        raise UserError(
            f"method.{name} is {dict(setting)}; a schedule is {{from = number, to = number, start = 0.0, until = 1.0}} "
            "with 0 <= start < until <= 1"
        )
