"""Evaluations: each yields records and writes nothing."""

from gambeson.evaluation.attacked import attacked
from gambeson.evaluation.certified import certified
from gambeson.evaluation.clean import clean
from gambeson.evaluation.diagnosed import diagnosed
from gambeson.evaluation.plan import Evaluation

__all__ = ["Evaluation", "attacked", "certified", "clean", "diagnosed"]
