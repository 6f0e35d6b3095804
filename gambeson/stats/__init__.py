"""Counts to probability bounds. No torch; nothing of the package but its errors."""

from . import beta_mixture, betting, group_sequential, score_bins
from ._counts import MOST_DRAWS
from .accuracy import Accuracy, accuracy
from .adaptive import PRICE, RULES, Plan, attainable, plan
from .clopper_pearson import lower, two_sided, upper
from .empirical_bernstein import empirical_bernstein
from .expected import expected_draws
from .forecast import Forecast, forecast
from .looks import looks
from .multiclass import TopAndRest, largest_p_lower, top_and_rest
from .paired import Paired, paired
from .played import expected_in_rounds, played
from .table import Standing, Table, table
from .test_set import whole_test_set

__all__ = [
    "MOST_DRAWS",
    "PRICE",
    "RULES",
    "Accuracy",
    "Forecast",
    "Paired",
    "Plan",
    "Standing",
    "Table",
    "TopAndRest",
    "accuracy",
    "attainable",
    "beta_mixture",
    "betting",
    "empirical_bernstein",
    "expected_draws",
    "expected_in_rounds",
    "forecast",
    "group_sequential",
    "largest_p_lower",
    "looks",
    "lower",
    "paired",
    "plan",
    "played",
    "score_bins",
    "table",
    "top_and_rest",
    "two_sided",
    "upper",
    "whole_test_set",
]
