"""The smoothed classifier: soft (a callable that attacks take) and hard (votes, certificates)."""

from gambeson.smoothed.soft import SoftSmoothed, soft
