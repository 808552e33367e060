"""What is wrong with a model, in words: each rule looks at the numbers of an evaluation and says what to do."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from vaekit.config import Config

Numbers = dict[str, Any]
_IDLE = 0.01  # nats below which a dimension tells the decoder nothing
_FEW = 30  # examples below which nothing can be said of others


def findings(numbers: Numbers, config: Config | None = None) -> list[str]:
    """What the numbers of `evaluate` say, the gravest first; empty where nothing is amiss, and of too few examples just that.

    Args:
        numbers: as `evaluate` returns them.
        config: of the model, where it has one.
    """
    if numbers["examples"] < _FEW:
        return [f"too few examples to find anything by: {numbers['examples']}; evaluate on {_FEW} or more"]
    return [said for rule in RULES for said in rule(numbers, config)]


def collapse(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Dimensions whose posterior is the prior."""
    kl = numbers["latents"]["kl"]
    idle = [] if kl is None else [i for i, value in enumerate(kl) if value < _IDLE]
    if kl and len(idle) == len(kl):
        yield (
            f"posterior collapse: every one of {len(kl)} latent dimensions carries less than {_IDLE} nats, so the decoder "
            f"ignores z; lower loss.beta, or give the decoder less to do without z"
        )
    elif idle:
        shown = ", ".join(map(str, idle[:12])) + (", …" if len(idle) > 12 else "")
        yield (
            f"posterior collapse: {len(idle)} of {len(kl)} latent dimensions carry less than {_IDLE} nats ({shown}); fewer "
            f"latent.features would do, or a lower loss.beta use them"
        )


def blur(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Reconstructions that are hardly better than the mean of the data."""
    found = numbers["reconstructions"]
    if found["variance"] > 0 and found["mse"] > 0.9 * found["variance"]:
        yield (
            f"reconstructions are hardly better than the mean example: a squared error of {found['mse']:.3g} a number, where "
            f"that has {found['variance']:.3g}; train longer, lower loss.beta, or add latent.features"
        )


def balance(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """One of the two terms rules."""
    weight, how = _weight(numbers, config)
    kl, reconstruction = numbers["kl"], numbers["reconstruction"]
    if kl is None:
        return
    capacity = config.part("loss").get("capacity") if config else None
    kl = abs(kl - capacity) if isinstance(capacity, int | float) else kl  # which the loss draws it to
    counted = numbers["base_measure"] == "counting"  # else the reconstruction has no zero to compare with
    if counted and weight * kl > 2 * reconstruction and kl > 1:
        terms = f"{weight * kl:.4g} against {reconstruction:.4g} nats of reconstruction"
        yield f"the KL rules the loss: {terms}; lower loss.beta from {weight:g}{how}"
    elif weight < 0.1 and kl > numbers["latents"]["dimensions"]:
        yield (
            f"the reconstruction rules the loss: at loss.beta = {weight:g}{how} a KL of {kl:.4g} nats costs {weight * kl:.3g}, "
            f"so codes need not look like draws from the prior; raise loss.beta for samples"
        )


def scale(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """A mean over dimensions where a sum was meant."""
    loss, reconstruction = numbers["loss"], numbers["reconstruction"]
    if not config or loss is None or not 0 < loss < reconstruction / 2:
        return
    weight, how = _weight(numbers, config)
    less = f"the loss is {loss:.4g}, less than the {reconstruction:.4g} nats of the reconstruction alone"
    said = f"a mean where a sum was meant: {less}"
    if how:
        yield f"{said}; the same in nats is loss.normalize=nats loss.beta={weight:.3g}, and 1 is the beta of the bound"
    else:
        yield (
            f"{said}; where that is divided by {prod(config.data_shape):,} dimensions and the KL is not, the KL weighs too "
            f"much: take a loss that sums over dimensions"
        )


def _weight(numbers: Numbers, config: Config | None) -> tuple[float, str]:
    """The weight of a nat of KL beside one of reconstruction, and whence it comes where beta alone does not say."""
    options = config.part("loss") if config else {}
    beta = options.get("beta", 1.0)
    weight = float(beta) if isinstance(beta, int | float) else 1.0
    if config is None or options.get("normalize") != "dims":
        return weight, ""
    weight *= prod(config.data_shape) / numbers["latents"]["dimensions"]
    return weight, f" (in nats: {beta:g} under normalize=dims)"


def overfitting(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Training examples are known better than others."""
    if numbers["train_nelbo"] is not None:
        gap = numbers["nelbo"] - numbers["train_nelbo"]
        if gap > max(2.0, 0.05 * abs(numbers["nelbo"])):
            yield (
                f"over-fitting: the negative ELBO is {numbers['nelbo']:.4g} nats here and {numbers['train_nelbo']:.4g} on "
                f"training examples; stop earlier (--early-stop), make it smaller, or train on more"
            )


def hole(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Codes of data lie elsewhere than draws from the prior."""
    gap = numbers["latents"]["prior_gap"]
    if gap is not None and gap > 1 + 0.05 * numbers["latents"]["dimensions"]:
        yield (
            f"prior hole: the codes of data are spread otherwise than draws from the prior, by {gap:.3g} nats already in mean "
            f"and covariance, so samples are decoded from where no example is; raise loss.beta, or use a prior that is learnt"
        )


def far_samples(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Samples are far worse than reconstructions."""
    found = numbers["fidelity"]
    if found is None:
        return
    samples, again, real = (found[name]["frechet"] for name in ("samples", "reconstructions", "real"))
    share, best = (min(found[name]["precision"], found[name]["recall"]) for name in ("samples", "real"))
    if samples - real > 3 * max(again - real, real) and share < best / 2:
        yield (
            f"samples are far worse than reconstructions: a Fréchet distance of {samples:.3g} from the data against "
            f"{again:.3g} (real examples: {real:.3g}), and a precision of {found['samples']['precision']:.2f} and recall of "
            f"{found['samples']['recall']:.2f}, in the features of {found['classifier']}; raise loss.beta, or use a prior that "
            f"is learnt"
        )


def no_bound(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Posteriors without a density."""
    if numbers["nelbo"] is None:
        yield (
            "no bound: the latent has no density, so that there is neither an ELBO nor a likelihood; vaekit refit fits a prior "
            "to its codes, to sample from"
        )


def support(numbers: Numbers, config: Config | None) -> Iterator[str]:
    """Data that the likelihood gives no probability."""
    share = numbers["outside_support"]
    if share:
        name = config.part("likelihood")["name"] if config else "the likelihood"
        cure = "; data.binarize=dynamic, or likelihood=continuous-bernoulli" if name == "bernoulli" else ""
        yield (
            f"{share:.0%} of the numbers lie outside the support of {name}: the bound is of no density, and compares with "
            f"nothing{cure}"
        )


RULES: tuple[Callable[[Numbers, Config | None], Iterator[str]], ...] = (
    collapse,
    blur,
    balance,
    scale,
    overfitting,
    hole,
    far_samples,
    no_bound,
    support,
)
"""In the order in which they speak."""
