"""Learning rates as functions of how many steps there have been, so that they need no state."""

import math

from vaekit.errors import ConfigError
from vaekit.training import TrainingOptions


def learning_rate(options: TrainingOptions, epoch: int, step: int, steps_an_epoch: int) -> float:
    """The learning rate of the step to come.

    Args:
        options: of training.
        epoch: epochs done.
        step: steps done, in all epochs.
        steps_an_epoch: as it says; 0 where that is not known.

    Raises:
        ConfigError: where the schedule must know how many steps there will be, and nobody does.
    """
    lr, schedule = options.lr, options.schedule
    if schedule == "constant":
        return lr
    if schedule == "steps":
        return lr * options.gamma ** sum(milestone <= epoch for milestone in options.milestones)
    if not steps_an_epoch:
        raise ConfigError(f"schedule {schedule!r} needs batches with a length")
    t = min(step / (steps_an_epoch * options.epochs), 1.0)
    if schedule == "one-cycle" and t < _WARM_UP:
        return lr * (0.04 + 0.96 * _cosine(1 - t / _WARM_UP))
    return lr * _cosine(t if schedule == "cosine" else (t - _WARM_UP) / (1 - _WARM_UP))


_WARM_UP = 0.3  # of the steps of a one-cycle schedule


def _cosine(t: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * t))
