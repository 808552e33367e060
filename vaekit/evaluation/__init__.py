"""How good a model is: bounds, what its latents hold, how its reconstructions look, and what is wrong with it in words."""

from vaekit.evaluation.bounds import bound, log_likelihood, placed
from vaekit.evaluation.measures import evaluate

__all__ = ["bound", "evaluate", "log_likelihood", "placed"]
