"""What names are known: of the parts and commands that this project's own packages bring, and of data that have none.

The error for a missing one says what to install for these only: a config from a stranger must not be able to name a
package to install.
"""

EXTRAS: dict[tuple[str, str], str] = {
    ("context", "labels"): "conditional",
    ("encoder", "conv"): "conv",
    ("encoder", "lstm"): "lstm",
    ("encoder", "resnet"): "conv",
    ("encoder", "vit"): "vit",
    ("latent", "categorical"): "latents",
    ("latent", "flow"): "flows",
    ("latent", "fsq"): "vq",
    ("latent", "full-gaussian"): "latents",
    ("latent", "grid-gaussian"): "latents",
    ("latent", "hyperspherical"): "manifolds",
    ("latent", "joint"): "latents",
    ("latent", "ladder"): "latents",
    ("latent", "poincare"): "manifolds",
    ("latent", "point"): "latents",
    ("latent", "residual-vq"): "vq",
    ("latent", "vq"): "vq",
    ("prior", "codes"): "vq",
    ("prior", "conditional"): "conditional",
    ("prior", "flow"): "flows",
    ("prior", "mixture"): "priors",
    ("prior", "relaxed-categorical"): "latents",
    ("prior", "transformer"): "vq",
    ("prior", "uniform"): "manifolds",
    ("prior", "vamp"): "priors",
    ("prior", "wrapped-normal"): "manifolds",
    ("decoder", "lstm"): "lstm",
    ("decoder", "resnet"): "conv",
    ("decoder", "spatial-broadcast"): "conv",
    ("decoder", "transposed-conv"): "conv",
    ("likelihood", "beta"): "likelihoods",
    ("likelihood", "categorical"): "likelihoods",
    ("likelihood", "continuous-bernoulli"): "likelihoods",
    ("likelihood", "discretized-logistic"): "likelihoods",
    ("likelihood", "discretized-logistic-mixture"): "likelihoods",
    ("likelihood", "gaussian"): "likelihoods",
    ("likelihood", "laplace"): "likelihoods",
    ("likelihood", "negative-binomial"): "likelihoods",
    ("likelihood", "pixelcnn"): "likelihoods",
    ("likelihood", "poisson"): "likelihoods",
    ("likelihood", "student-t"): "likelihoods",
    ("loss", "beta-tc"): "losses",
    ("loss", "ciwae"): "losses",
    ("loss", "dip"): "losses",
    ("loss", "dreg"): "losses",
    ("loss", "factor"): "adversarial",
    ("loss", "info"): "losses",
    ("loss", "iwae"): "losses",
    ("loss", "miwae"): "losses",
    ("loss", "ms-ssim"): "losses",
    ("loss", "piwae"): "losses",
    ("loss", "prior-nll"): "losses",
    ("loss", "rae"): "losses",
    ("loss", "vae-gan"): "adversarial",
    ("loss", "wae-gan"): "adversarial",
    ("loss", "wae-mmd"): "losses",
}
"""Kind and name, to the extra of vaekit that brings it."""
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("vaekit-demo", "demo"),
    "predict": ("vaekit-runtime", "runtime"),
    "serve": ("vaekit-runtime", "serve"),
}
"""Commands, to the package and the extra of vaekit that bring each."""
UNNAMED = ("data", "folder", "npy", "npz", "idx")
"""What data are called that have no name of their own: arrays, and files by their format."""
