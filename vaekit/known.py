"""What names are known: of the parts and commands that this project's own packages bring, and of data that have none.

The error for a missing one says what to install for these only: a config from a stranger must not be able to name a
package to install.
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
COMMANDS: dict[str, str] = {"demo": "demo"}
"""Commands, to the extra of vaekit that brings each."""
UNNAMED = ("data", "folder", "npy", "npz", "idx")
"""What data are called that have no name of their own: arrays, and files by their format."""
