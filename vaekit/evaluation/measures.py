"""Everything that is measured of a model on held-out examples, as plain numbers."""

import math
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from vaekit.blocks import drawing, evaluation
from vaekit.data.subset import some
from vaekit.distributions import kl, multivariate_normal
from vaekit.errors import DataError
from vaekit.evaluation.bounds import bound, chosen, count, log_likelihood, placed
from vaekit.evaluation.classifier import Trained
from vaekit.evaluation.fidelity import fidelity_of
from vaekit.evaluation.findings import findings
from vaekit.metrics import factors as disentanglement
from vaekit.metrics import images, latents
from vaekit.model import VAE
from vaekit.parts import Loss
from vaekit.shapes import mask
from vaekit.trace import Terms

_MOST = 2000  # examples of those measures that look at every pair, and of the training set
_PROBED = 5000  # examples whose factors are told apart
_PRIOR_DRAWS = 16  # an example, so that the prior's moments are known well
_WINDOW = 11


def evaluate(
    model: VAE,
    batches: Iterable[Any],
    train: Iterable[Any] | None = None,
    loss: Loss | None = None,
    factors: Tensor | None = None,
    classifier: Trained | None = None,
    k: int = 200,
    n: int | None = None,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Bounds, what the latents hold, how near reconstructions are, and what was found, as JSON values.

    Args:
        model: to evaluate; it runs in evaluation mode, and scores in float32 or better.
        batches: held-out (x, y) or x; iterated several times.
        train: training examples likewise, to see how much better they are known and to fit the probe; 2,000 are used. Where
            the model is trained on pixels that are drawn anew, these are to be drawn too (`Batches(..., dynamic=True)`).
        loss: that it was trained with, to see whether its scale is that of the bound.
        factors: what the held-out examples were made of (N, F), in the order of the batches, where that is known.
        classifier: whose features samples are compared in.
        k: importance samples an example.
        n: examples that the importance-weighted likelihood is of; all of them where there is none.
        seed: what the draws depend on, and which examples are taken where not all are.
        tell: is told how many examples the importance-weighted likelihood has been taken of, which is what takes long.

    Returns:
        In nats per example: `nelbo`, `reconstruction`, `kl`, `train_nelbo`; `nll`, importance-weighted, with
        `nll_standard_error`, `nll_examples` and `k`; `bits_per_dim`, of the nll, where the likelihood is of discrete data in
        its support; `base_measure`, of the likelihood. `examples`. `latents`: what the codes hold, and `information` for a
        model without a y. `reconstructions`: `mse`, the `variance` that the mean training example leaves, and `psnr` and
        `ssim` of images in [0, 1]. `probe`: a linear one of labels on codes. `outside_support`: the share of numbers that the
        likelihood gives no probability. `loss`: as it is minimised. `factors`: scores of how well the codes of 5,000 examples
        tell those apart. `fidelity`: of samples to data, in the features of the classifier. `findings`: sentences. What does
        not apply is None: the bounds of a latent without a density, for instance.

    Raises:
        DataError: where there are no examples.
    """
    if isinstance(batches, str | Tensor):
        raise DataError("give batches (x, y) or x: vaekit.Batches(vaekit.Examples.of(x), 128), a DataLoader, or [x]")
    batches = list(batches) if isinstance(batches, Iterator) else batches
    train = list(train) if isinstance(train, Iterator) else train
    terms = bound(model, batches, seed=seed)
    log_p = log_likelihood(model, batches, k, n, seed, tell) if model.latent.has_density else None
    x, y = _some(batches, model, seed)
    codes = _codes(model, batches)
    known = None if train is None else _some(train, model, seed)
    numbers: dict[str, Any] = {
        **{name: terms.get(name) for name in ("nelbo", "reconstruction", "kl")},
        **_nll(log_p),
        "k": None if log_p is None else k,
        "examples": count(batches),
        "base_measure": model.likelihood.base_measure,
        "bits_per_dim": None if log_p is None else _bits(model, x, -log_p.mean().item()),
        "latents": _latents(model, batches, codes, x, y, seed),
        "reconstructions": _reconstructions(model, batches, x, x if known is None else known[0]),
        "probe": None if known is None else _probe(model, known, (x, y)),
        "train_nelbo": None if known is None else bound(model, [known], seed=seed).get("nelbo"),
        "outside_support": 1 - model.likelihood.support.check(x[mask(x)]).double().mean().item(),
        "loss": None if loss is None else _loss(model, loss, x, y, seed),
    }
    numbers["factors"] = None if factors is None else _factors(codes, factors, seed)
    numbers["fidelity"] = None if classifier is None else fidelity_of(model, batches, classifier, seed)
    numbers["findings"] = findings(numbers, model.config)
    return numbers


def _given(model: VAE, y: Tensor | None) -> Tensor | None:
    return y if model.conditional else None


def _some(batches: Iterable[Any], model: VAE, seed: int) -> tuple[Tensor, Tensor | None]:
    """As many examples as are looked at together."""
    pairs = list(chosen(batches, _MOST, model.context.empty, seed))
    if not pairs:
        raise DataError("there are no examples to evaluate")
    ys = [y for _, y in pairs if y is not None]
    return torch.cat([x for x, _ in pairs]), torch.cat(ys) if ys else None


def _nll(log_p: Tensor | None) -> dict[str, Any]:
    """The negative log-likelihood of so many examples, with its standard error."""
    if log_p is None:
        return {"nll": None, "nll_standard_error": None, "nll_examples": None}
    error = log_p.std().item() / math.sqrt(len(log_p)) if len(log_p) > 1 else None
    return {"nll": -log_p.mean().item(), "nll_standard_error": error, "nll_examples": len(log_p)}


def _bits(model: VAE, x: Tensor, nll: float) -> float | None:
    discrete = model.likelihood.base_measure == "counting" and bool(model.likelihood.support.check(x).all())
    return nll / (math.log(2) * prod(model.data_shape)) if discrete else None


def _codes(model: VAE, batches: Iterable[Any]) -> Tensor:
    """The deterministic code of every example, (N, D)."""
    codes = []
    for batch in batches:
        x, y = placed(batch, model.context.empty)
        codes.append(model.encode(x, _given(model, y)).flatten(1).cpu())
    return torch.cat(codes)


def _factors(codes: Tensor, factors: Tensor, seed: int) -> dict[str, Any]:
    if len(factors) != len(codes):
        raise DataError(f"there are factors of {len(factors)} examples and {len(codes)} examples: give them in the same order")
    numbers = some(len(codes), _PROBED, seed)
    z, v = codes[numbers].numpy(), factors[numbers].numpy()
    groups = disentanglement.Groups.of(z, v)
    return {
        "mig": disentanglement.mig(z, v),
        "sap": disentanglement.sap(z, v, seed),
        **disentanglement.dci(z, v, seed=seed),
        "beta_vae": disentanglement.beta_vae_score(groups, seed=seed),
        "factor_vae": disentanglement.factor_vae_score(groups, seed=seed),
    }


def _latents(model: VAE, batches: Iterable[Any], codes: Tensor, x: Tensor, y: Tensor | None, seed: int) -> dict[str, Any]:
    kls: list[Tensor | None] = []
    with torch.no_grad(), evaluation(model), drawing(seed, x.device):
        for batch in batches:
            data, labels = placed(batch, model.context.empty)
            kls.append(model(data, model.context(labels, len(data))).draw.sites[0].kl_dims())
        told = None if model.conditional or len(x) < 2 else _information(model, x)
        gap = _prior_gap(model, x, y)
    closed = [kl.cpu() for kl in kls if kl is not None]
    units = latents.kl_units(torch.cat(closed)) if closed and len(closed) == len(kls) else None
    active = latents.active_units(codes) if len(codes) > 1 else None
    return {
        "dimensions": codes.shape[1],
        "active_units": None if active is None else active.count,
        "kl": None if units is None else units.values.tolist(),
        "kl_units": None if units is None else units.count,
        "prior_gap": gap,
        "information": None
        if told is None
        else {
            "mutual": told.mutual,
            "aggregated_kl": told.aggregated_kl,
            "examples": told.examples,
            "saturated": told.saturated,
        },
    }


def _information(model: VAE, x: Tensor) -> latents.Information | None:
    """What z tells of x; None where the posterior has no density to compare with."""
    c = model.context(None, len(x))
    posteriors = [model.posterior(part, c[: len(part)]) for part in x.split(128)]
    z = torch.cat([q.sample() for q in posteriors])
    try:
        return latents.information(_Joined(posteriors), model.prior_z(c), z)
    except DataError:
        return None


def _prior_gap(model: VAE, x: Tensor, y: Tensor | None) -> float | None:
    """KL of a normal with the moments of draws from q(z) from one with those of p(z); on a real space, with enough examples.

    Moments of few draws differ where the distributions do not, by some D(D + 3) / 4N nats: as many draws from the prior say by
    how much, and that is taken off.
    """
    root = model.latent.root
    if root.support != "real" or len(x) < 10 * root.dimensions:
        return None
    c = model.context(y, len(x))
    drawn = torch.cat([model.posterior(part, cs).sample() for part, cs in zip(x.split(128), c.split(128), strict=True)])
    prior = model.prior_z(c)
    many = _fitted(prior.sample(torch.Size((_PRIOR_DRAWS,))).flatten(0, 1))
    return max(0.0, (kl(_fitted(drawn), many) - kl(_fitted(prior.sample()), many)).item())


def _fitted(z: Tensor) -> MultivariateNormal:
    """The normal with the moments of draws, as a batch of one."""
    z = z.flatten(1).double().cpu()
    covariance = z.T.cov().reshape(z.shape[1], -1) + 1e-9 * torch.eye(z.shape[1])
    return multivariate_normal(z.mean(0)[None], torch.linalg.cholesky(covariance)[None])


class _Joined(Distribution):
    """Posteriors of several batches as those of one."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, parts: list[Distribution]) -> None:
        self.parts = parts
        super().__init__(torch.Size((sum(q.batch_shape[0] for q in parts),)), parts[0].event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of (N, *event), each under its own; or of (R, 1, *event), each under all."""
        if value.dim() == 2 + len(self.event_shape):
            return torch.cat([q.log_prob(value) for q in self.parts], 1)
        sizes = [q.batch_shape[0] for q in self.parts]
        return torch.cat([q.log_prob(part) for q, part in zip(self.parts, value.split(sizes), strict=True)])


def _reconstructions(model: VAE, batches: Iterable[Any], seen: Tensor, known: Tensor) -> dict[str, Any]:
    shape = model.data_shape
    pixels = len(shape) == 3 and bool(((seen >= 0) & (seen <= 1)).all())
    window = min(_WINDOW, *(side - (side + 1) % 2 for side in shape[1:])) if pixels else 0
    found: dict[str, list[Tensor]] = {"mse": [], "psnr": [], "ssim": []}
    for batch in batches:
        x, y = placed(batch, model.context.empty)
        again = model.reconstruct(x, _given(model, y)).to(x.dtype)
        there = mask(x)
        found["mse"].append((torch.where(there, x - again, 0) ** 2).flatten(1).sum(1) / there.flatten(1).sum(1))
        if pixels:
            found["psnr"].append(images.psnr(x, again.clamp(0, 1)))
        if window >= 3:
            found["ssim"].append(images.ssim(x, again.clamp(0, 1), window))
    means = {name: torch.cat(values).mean().item() if values else None for name, values in found.items()}
    return {**means, "ssim_window": window if means["ssim"] is not None else None, "variance": _variance(seen, known)}


def _variance(x: Tensor, known: Tensor) -> float:
    """The mean squared error of the mean of known examples: what knowing nothing of x costs."""
    return ((x.double() - known.double().nanmean(0)) ** 2).nanmean().item()


def _probe(model: VAE, train: tuple[Tensor, Tensor | None], test: tuple[Tensor, Tensor | None]) -> dict[str, Any] | None:
    y, test_y = train[1], test[1]
    if y is None or test_y is None or len(y.unique()) < 2:
        return None
    codes, test_codes = (model.encode(x, _given(model, labels)).flatten(1) for x, labels in (train, test))
    return vars(latents.linear_probe(codes.cpu(), y.cpu(), test_codes.cpu(), test_y.cpu()))


def _loss(model: VAE, loss: Loss, x: Tensor, y: Tensor | None, seed: int) -> float | None:
    """What the player that trains the decoder minimises, for some examples; None where there is none."""
    decoder = {id(parameter) for parameter in model.decoder.parameters()}
    player = next((name for name, own in loss.players(model).items() if any(id(p) in decoder for p in own)), None)
    if player is None:
        return None
    index = some(len(x), 128, seed).to(x.device)
    x, y = x[index], None if y is None else y[index]
    with evaluation(model), drawing(seed, x.device):
        terms: Terms = loss(model, x, model.context(y, len(x)), player)
    return terms.loss.item()
