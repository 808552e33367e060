"""The parts that this project's own packages bring, so that the error for a missing one can say what to install.

Only these: a config from a stranger must not be able to name a package to install.
"""

EXTRAS: dict[tuple[str, str], str] = {
    ("context", "labels"): "conditional",
    ("encoder", "conv"): "conv",
    ("encoder", "lstm"): "lstm",
    ("prior", "conditional"): "conditional",
    ("decoder", "transposed-conv"): "conv",
    ("likelihood", "categorical"): "likelihoods",
    ("likelihood", "continuous-bernoulli"): "likelihoods",
    ("likelihood", "discretized-logistic"): "likelihoods",
    ("likelihood", "gaussian"): "likelihoods",
    ("likelihood", "laplace"): "likelihoods",
    ("loss", "iwae"): "losses",
}
"""Kind and name, to the extra of vaekit that brings it."""
