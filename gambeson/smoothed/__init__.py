"""The smoothed classifier: soft (callables that attacks take) and hard (votes, certificates)."""

from gambeson.smoothed.redrawn import Redrawn, redrawn
from gambeson.smoothed.soft import SoftSmoothed, soft
from gambeson.smoothed.stein import Stein, stein
