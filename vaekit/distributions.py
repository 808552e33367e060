"""torch.distributions as the wire between parts.

Thin constructors that skip argument validation object by object (a validated one breaks full-graph compilation and waits
for the device) and promote half precision to float32 (a log-density summed over an image is off by nats otherwise), the few
distributions that torch lacks, and `kl`, with its own table of types. No global default is touched.

A distribution of a plugin brings the closed forms that it has: its class attribute `closed_kl` maps the type of p to a function
of q and p that gives KL(q ‖ p) in nats, of q's batch shape. Neither is wrapped in an `Independent` there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Laplace, MultivariateNormal, Normal, constraints

from vaekit.shapes import Shape, mask


def promote(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor, in float32 where it was in half precision."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def full_precision(like: Tensor) -> torch.autocast:
    """A block in which autocast is off on the device of `like`."""
    return torch.autocast(like.device.type, enabled=False)


def independent(base: Distribution) -> Distribution:
    """`base` with every batch axis but the first as its event: log_prob sums over the dimensions of an example.

    Of sequences (N, steps, features), steps of NaN are padding and count for nothing.
    """
    axes = len(base.batch_shape) - 1
    kind = _OfSequences if axes == _SEQUENCE else Independent
    return kind(base, axes, validate_args=False)


_SEQUENCE = 2  # axes of an example


class _OfSequences(Independent):  # type: ignore[type-arg]
    """One that passes over padding."""

    def log_prob(self, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            of_each: Tensor = self.base_dist.log_prob(value)
            return of_each.sum((-2, -1))
        there = mask(value)
        of_each = self.base_dist.log_prob(torch.where(there, value, _ANYTHING))
        return torch.where(there, of_each, 0).sum((-2, -1))


_ANYTHING = 0.5  # in the place of padding, so that no density or gradient is infinite there


def normal(loc: Tensor, scale: Tensor) -> Distribution:
    """Diagonal normal over the dimensions of (N, *event) tensors."""
    loc, scale = promote(loc, scale)
    return independent(Normal(loc, scale, validate_args=False))


def standard_normal(shape: Shape, like: Tensor) -> Distribution:
    """Normal of mean 0 and variance 1 over the dimensions of tensors of a shape (N, *event), on the device of `like`."""
    (zero,) = promote(like.new_zeros(()))
    return independent(_StandardNormal(zero.expand(shape), (zero + 1).expand(shape), validate_args=False))


class _StandardNormal(Normal):
    """One whose KL takes fewer steps."""


def laplace(loc: Tensor, scale: Tensor) -> Distribution:
    """Independent Laplace distributions over the dimensions of (N, *event) tensors."""
    loc, scale = promote(loc, scale)
    return independent(Laplace(loc, scale, validate_args=False))


def bernoulli(logits: Tensor) -> Distribution:
    """Independent Bernoulli distributions over the dimensions of (N, *event) logits."""
    return independent(_Bernoulli(logits=promote(logits)[0], validate_args=False))


class _Bernoulli(Bernoulli):
    """torch's own, but for `log_prob`, which takes a sixth of the time on a CPU: log1p is what is slow there."""

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob: Tensor = _LogBernoulli.apply(*torch.broadcast_tensors(self.logits, value))
        return log_prob


class _LogBernoulli(torch.autograd.Function):
    r"""$x \theta - \log(1 + e^\theta) = x \theta - \max(\theta, 0) + \log \sigma(|\theta|)$, with its gradient at 0 too."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(theta, x)
        return torch.addcmul(theta.abs().sigmoid_().log_().sub_(theta.clamp(min=0)), x, theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        theta, x = ctx.saved_tensors
        of_theta, of_x = ctx.needs_input_grad
        return grad * (x - theta.sigmoid()) if of_theta else None, grad * theta if of_x else None


def multivariate_normal(loc: Tensor, scale_tril: Tensor) -> MultivariateNormal:
    """Full-covariance normal: loc (N, D), lower-triangular scale_tril (N, D, D)."""
    loc, scale_tril = promote(loc, scale_tril)
    return MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)


class PointMass(Distribution):
    """All probability on one value: the posterior of a deterministic code.

    log_prob is 0 at the value and -inf elsewhere: a probability where the space is discrete. On a continuous space no
    density exists and nothing computed with it is a bound.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape[:1], value.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.value

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        equal = value == self.value
        if self.event_shape:
            equal = equal.flatten(value.dim() - len(self.event_shape)).all(-1)
        dtype = value.dtype if value.is_floating_point() else torch.get_default_dtype()
        return torch.where(equal, torch.zeros((), dtype=dtype, device=value.device), -torch.inf)


def tempered(p: Distribution, temperature: float) -> Distribution | None:
    """The Gaussian `p` with its standard deviation multiplied by `temperature`; None where `p` is not Gaussian."""
    if isinstance(p, Independent) and isinstance(p.base_dist, Normal):
        return normal(p.base_dist.loc, p.base_dist.scale * temperature)
    if isinstance(p, MultivariateNormal):
        return multivariate_normal(p.loc, p.scale_tril * temperature)
    return None


def kl(q: Distribution, p: Distribution) -> Tensor:
    """KL(q ‖ p) in nats, of the batch shape of q.

    Raises:
        NotImplementedError: where `has_kl(q, p)` is false.
    """
    if _is_code(q):
        return -p.log_prob(q.mean)
    dims = kl_dims(q, p)
    if dims is not None:
        return dims.sum(-1)
    joint = _joint(q, p)
    if joint is None:
        raise NotImplementedError(f"KL({type(q).__name__} ‖ {type(p).__name__}) has no closed form here")
    return joint(*_unwrapped(q, p))


def kl_dims(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q ‖ p) of each dimension, (*batch, D), where it is a sum over dimensions; else None."""
    if _event_axes(q) != _event_axes(p) or _types(q, p) not in _ELEMENTWISE:
        return None
    return _ELEMENTWISE[_types(q, p)](*_unwrapped(q, p)).flatten(len(q.batch_shape))


def has_kl(q: Distribution, p: Distribution) -> bool:
    """Whether `kl(q, p)` has a closed form here."""
    elementwise = _types(q, p) in _ELEMENTWISE and _event_axes(q) == _event_axes(p)
    return _is_code(q) or elementwise or (_joint(q, p) is not None and q.event_shape == p.event_shape)


def _is_code(q: Distribution) -> bool:
    """Whether all probability is on one code: the KL is then what that code costs under p, whatever p is."""
    return isinstance(q, PointMass) and not q.value.is_floating_point()


def _joint(q: Distribution, p: Distribution) -> "_Kl | None":
    """The closed form over all dimensions at once, where there is one: of the table here, or the posterior's own."""
    own: Mapping[type, _Kl] = getattr(_unwrapped(q, p)[0], "closed_kl", {})
    of_q, of_p = _types(q, p)
    return _JOINT.get((of_q, of_p)) or own.get(of_p)


def _unwrapped(q: Distribution, p: Distribution) -> tuple[Distribution, Distribution]:
    return (
        q.base_dist if isinstance(q, Independent) else q,
        p.base_dist if isinstance(p, Independent) else p,
    )


def _types(q: Distribution, p: Distribution) -> tuple[type, type]:
    q, p = _unwrapped(q, p)
    return type(q), Normal if type(p) is _StandardNormal else type(p)


def _event_axes(d: Distribution) -> int:
    return len(d.event_shape)


def _normal_normal(q: Normal, p: Normal) -> Tensor:
    if isinstance(p, _StandardNormal):
        of_each: Tensor = _KlToStandardNormal.apply(q.loc, q.scale)
        return of_each
    ratio = (q.scale / p.scale) ** 2
    return 0.5 * (ratio + ((q.loc - p.loc) / p.scale) ** 2 - 1 - ratio.log())


class _KlToStandardNormal(torch.autograd.Function):
    r"""$\tfrac12 (\sigma^2 + \mu^2 - 1) - \log \sigma$, in a third of the operations that torch's own gradient takes."""

    @staticmethod
    def forward(ctx: Any, loc: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(loc, scale)
        return torch.addcmul(scale * scale, loc, loc).sub_(1).mul_(0.5).sub_(scale.log())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = ctx.saved_tensors
        return grad * loc, grad * (scale - scale.reciprocal())


def _full_full(q: MultivariateNormal, p: MultivariateNormal) -> Tensor:
    whitened = torch.linalg.solve_triangular(p.scale_tril, q.scale_tril, upper=False)
    shift = torch.linalg.solve_triangular(p.scale_tril, (q.loc - p.loc)[..., None], upper=False)
    quadratic: Tensor = (whitened**2).sum((-2, -1)) + (shift**2).sum((-2, -1)) - q.event_shape[0]
    return 0.5 * quadratic + _log_diagonal(p) - _log_diagonal(q)


def _full_diagonal(q: MultivariateNormal, p: Normal) -> Tensor:
    variance = (q.scale_tril**2).sum(-1)
    quadratic = (variance + (q.loc - p.loc) ** 2) / p.scale**2 - 1
    return (0.5 * quadratic + p.scale.log()).sum(-1) - _log_diagonal(q)


def _diagonal_full(q: Normal, p: MultivariateNormal) -> Tensor:
    return _full_full(multivariate_normal(q.loc, torch.diag_embed(q.scale)), p)


def _log_diagonal(d: MultivariateNormal) -> Tensor:
    log_diagonal: Tensor = d.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return log_diagonal


_Kl = Callable[..., Tensor]
_ELEMENTWISE: dict[tuple[type, type], _Kl] = {(Normal, Normal): _normal_normal}
_JOINT: dict[tuple[type, type], _Kl] = {
    (MultivariateNormal, MultivariateNormal): _full_full,
    (MultivariateNormal, Normal): _full_diagonal,
    (Normal, MultivariateNormal): _diagonal_full,
}
