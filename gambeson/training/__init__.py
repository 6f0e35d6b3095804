"""Training: players, schedules, step, checkpoint, resume, cost. The public name is `train`."""

from gambeson.training.road import Progress
from gambeson.training.trainer import TrainResult, train

__all__ = ["Progress", "TrainResult", "train"]
