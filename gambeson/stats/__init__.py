"""Counts to probability bounds. No torch; nothing of the package but its errors."""

from .accuracy import Accuracy, accuracy
from .clopper_pearson import lower, two_sided, upper
from .multiclass import TopAndRest, largest_p_lower, top_and_rest
from .paired import Paired, paired
from .test_set import whole_test_set

__all__ = [
    "Accuracy",
    "Paired",
    "TopAndRest",
    "accuracy",
    "largest_p_lower",
    "lower",
    "paired",
    "top_and_rest",
    "two_sided",
    "upper",
    "whole_test_set",
]
