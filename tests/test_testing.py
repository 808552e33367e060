"""The conformance suite finds what it says it finds: for every check, parts that fail it."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.distributions import Distribution, Independent, Normal, constraints

import vaekit
from vaekit import Draw, Examples, Site, Space, Terms, distributions, join, registry
from vaekit.ambient import Ambient
from vaekit.cli import app
from vaekit.plugins import Plugin, Plugins, plugins
from vaekit.testing import CheckFailed, NotApplicable, checks_for, parametrize_with_checks
from vaekit.testing.measure import measured
from vaekit.testing.results import made
from vaekit.testing.spaces import SPACES, scattered
from vaekit.testing.suite import KINDS

Width = Annotated[int, Field(ge=1, le=64)]


class GoodEncoder(vaekit.Encoder):
    """x (N, *in_shape) gives h (N, features).

    Args:
        features: how many.
        activation: after the layer.

    References:
        This test (2026).
    """

    name = "good"

    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__()
        self.in_features = torch.Size(in_shape).numel()
        self.layer = nn.Linear(self.in_features + context, features)
        self.activation = {"tanh": F.tanh, "relu": F.relu}[activation]
        self.out_shape = (features,)

    def forward(self, x, c):
        return self.activation(self.layer(join(x.flatten(1), c)))


class Unbounded(GoodEncoder):
    __doc__ = GoodEncoder.__doc__

    def __init__(self, in_shape, context, *, features: int = 4):
        super().__init__(in_shape, context, features=features)


class Silent(GoodEncoder):
    """An encoder."""


class Unsourced(GoodEncoder):
    """x (N, *in_shape) gives h (N, features)."""


class Undocumented(GoodEncoder):
    """x (N, *in_shape) gives h (N, features).

    Args:
        features: how many.

    References:
        This test (2026).
    """


class WrongShape(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, c)[:, None]


class NoErrorOfItsOwn(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        if len(in_shape) == 1:
            raise ValueError("no vectors")
        super().__init__(in_shape, context, features=features, activation=activation)


class RefusesAll(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        raise vaekit.ShapeError("not today")


class NoBatchOfOne(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x, c):
        return self.norm(super().forward(x, c))


class Forgetful(GoodEncoder):
    def spec(self):
        return {"name": self.name}


class Greedy(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        if features > 32:
            raise OverflowError("too much")
        super().__init__(in_shape, context, features=features, activation=activation)


class Picky(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.activation = {"tanh": F.tanh}[activation]


class Growing(GoodEncoder):
    built = 0

    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        type(self).built += 1
        self.extra = nn.Linear(1, self.built)


class Single(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, c).float()


class Explosive(GoodEncoder):
    def forward(self, x, c):
        h = super().forward(x, c)
        return h / (h.dtype != torch.bfloat16) - h / (h.dtype != torch.bfloat16) + h


class Idle(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.idle = nn.Linear(3, 3)


class Infinite(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, c) + 0 * torch.sqrt(self.layer.bias * 0)


class Centred(GoodEncoder):
    def forward(self, x, c):
        h = super().forward(x, c)
        return h - h.mean(0)


class Numpyish(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, c) + np.random.default_rng().normal()


class Secretive(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.shift = torch.rand(()).item() if self.layer.weight.device.type != "meta" else 0.0

    def forward(self, x, c):
        return super().forward(x, c) + self.shift


class Sharing(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.same = nn.Linear(self.in_features + context, features)
        self.same.weight = self.layer.weight

    def forward(self, x, c):
        return super().forward(x, c) + self.same(join(x.flatten(1), c))


class Itemised(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.first = self.layer.bias[0].item()


class Unregistered(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.scales = [torch.ones(features)]


class Meddling(GoodEncoder):
    def forward(self, x, c):
        torch.set_float32_matmul_precision("medium")
        return super().forward(x, c)


class Branching(GoodEncoder):
    def forward(self, x, c):
        h = super().forward(x, c)
        return h if h.sum().item() > 1e9 else h * 1


class TracedApart(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, c) * (2 if torch.compiler.is_exporting() else 1)


class OfOneSize(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, c) * torch.ones(len(x), 1)


class SaysNotWhy(GoodEncoder):
    compiles = False


class Infinite16(GoodEncoder):
    def forward(self, x, c):
        h = super().forward(x, c)
        return torch.where(torch.tensor(h.dtype == torch.bfloat16), torch.inf, h)


class LeakySequences(GoodEncoder):
    def __init__(self, in_shape, context, *, features: Width = 4, activation: Literal["tanh", "relu"] = "tanh"):
        super().__init__(in_shape, context, features=features, activation=activation)
        self.leaks = len(in_shape) == 2

    def forward(self, x, c):
        h = super().forward(x, c)
        return h - h.mean(0) if self.leaks else h


class Blind(GoodEncoder):
    def forward(self, x, c):
        return super().forward(torch.zeros_like(x), c)


class GoodContext(vaekit.Context):
    """y (N,) gives c (N, 2).

    References:
        This test (2026).
    """

    name = "good"

    def __init__(self):
        super().__init__()
        self.out_shape = (2,)

    def forward(self, y, n):
        return F.one_hot(y, 2).to(self.empty.dtype)

    def parse(self, y, n, classes):
        y = y.tolist() if isinstance(y, torch.Tensor) else [y] * n if isinstance(y, int) else y
        if not isinstance(y, list) or len(y) != n or not set(y) <= {0, 1}:
            raise vaekit.ConfigError("give 0 or 1 for each, or one for all")
        return torch.tensor(y)

    def sample(self, n):
        return torch.randint(2, (n,))


class Lenient(GoodContext):
    def parse(self, y, n, classes):
        try:
            return super().parse(y, n, classes)
        except vaekit.ConfigError:
            return torch.zeros(n).long()


class Inverting(GoodContext):
    def parse(self, y, n, classes):
        return 1 - super().parse(y, n, classes)


class FewSamples(GoodContext):
    def sample(self, n):
        return torch.randint(2, (min(n, 4),))


class ConstantContext(GoodContext):
    def forward(self, y, n):
        return 0 * super().forward(y, n)


class OneSample(GoodContext):
    def sample(self, n):
        return torch.zeros(n).long()


class NoneForAll(GoodContext):
    def parse(self, y, n, classes):
        return torch.tensor([y]) if isinstance(y, int) else super().parse(y, n, classes)


class Unconditioned(GoodEncoder):
    def forward(self, x, c):
        return super().forward(x, 0 * c)


class GoodLatent(vaekit.Latent):
    """h (N, *in_shape) gives z (S, N, 2).

    References:
        This test (2026).
    """

    name = "good"

    def __init__(self, in_shape, context):
        super().__init__()
        self.head = nn.Linear(torch.Size(in_shape).numel() + context, 4)
        self.root, self.out_shape = Space((2,)), (2,)

    def posterior(self, h, c):
        loc, s = distributions.promote(*self.head(join(h.flatten(1), c)).chunk(2, 1))
        return distributions.normal(loc, F.softplus(s))

    def forward(self, h, c, prior, samples):
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root, c):
        return root

    def code(self, h, c):
        return self.posterior(h, c).mean


class OtherDraws(GoodLatent):
    def forward(self, h, c, prior, samples):
        q = self.posterior(h, c)
        z = q.mean + 1.2 * (q.rsample((samples,)) - q.mean)
        return Draw(z, (Site(q, prior, z),))


class _NoConstant(Distribution):
    arg_constraints: dict[str, Any] = {}

    def __init__(self, base):
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self):
        return self.base.mean

    def rsample(self, sample_shape=()):
        return self.base.rsample(sample_shape)

    def sample(self, sample_shape=()):
        return self.base.sample(sample_shape)

    def log_prob(self, value):
        return self.base.log_prob(value) + 1


class NoConstantInQ(GoodLatent):
    def posterior(self, h, c):
        return _NoConstant(super().posterior(h, c))


class TwoPosteriors(GoodLatent):
    def forward(self, h, c, prior, samples):
        q = super().posterior(h, c)
        wider = distributions.normal(q.mean, 2 * q.stddev)
        z = wider.rsample((samples,))
        return Draw(z, (Site(wider, prior, z),))


class NoGradient(GoodLatent):
    def forward(self, h, c, prior, samples):
        return super().forward(h.detach(), c, prior, samples)

    def posterior(self, h, c):
        return super().posterior(h.detach(), c)


class NoReparametrisation(GoodLatent):
    def forward(self, h, c, prior, samples):
        q = self.posterior(h, c)
        z = q.sample((samples,))
        return Draw(z, (Site(q, prior, z),))


class OwnPrior(GoodLatent):
    def forward(self, h, c, prior, samples):
        draw = super().forward(h, c, prior, samples)
        own = distributions.normal(torch.zeros_like(draw.z[0]), 2 * torch.ones_like(draw.z[0]))
        return Draw(draw.z, (Site(draw.sites[0].q, own, draw.z),))


class Doubling(GoodLatent):
    def forward(self, h, c, prior, samples):
        draw = super().forward(h, c, prior, samples)
        return Draw(2 * draw.z, draw.sites)


class ConstantCode(GoodLatent):
    def code(self, h, c):
        return torch.zeros(len(h), 2, dtype=h.dtype)


class WrongWayDown(GoodLatent):
    def forward(self, h, c, prior, samples):
        draw = super().forward(h, c, prior, samples)
        below = distributions.normal(draw.z[0], torch.ones_like(draw.z[0]))
        p = Independent(Normal(draw.z, torch.ones_like(draw.z), validate_args=False), 1, validate_args=False)
        z = below.rsample((samples,))
        return Draw(z, (draw.sites[0], Site(below, p, z)))


class NoSites(GoodLatent):
    def forward(self, h, c, prior, samples):
        return Draw(super().forward(h, c, prior, samples).z, ())


class GeneratesNaN(GoodLatent):
    def generate(self, root, c):
        return root / 0 * 0


class RandomCode(GoodLatent):
    def code(self, h, c):
        return self.posterior(h, c).sample() if self.training else self.posterior(h, c).mean


class GoodPrior(vaekit.Prior):
    """c (N, C) gives a batch of (N,).

    References:
        This test (2026).
    """

    name = "good"

    def __init__(self, root, data_shape, context):
        super().__init__()
        if root.support != "real":
            raise vaekit.ShapeError("real only")
        self.out_shape = root.shape
        self.loc = nn.Parameter(torch.full(root.shape, 0.3))

    def forward(self, c, posterior):
        loc = self.loc.expand(c.shape[0], *self.out_shape)
        return distributions.normal(loc, torch.full_like(loc, 0.5))


class NoConstantInP(GoodPrior):
    def forward(self, c, posterior):
        return _NoConstant(super().forward(c, posterior))


class _Rounded(_NoConstant):
    def log_prob(self, value):
        return self.base.log_prob(value).bfloat16()


class RoundedScores(GoodPrior):
    def forward(self, c, posterior):
        return _Rounded(super().forward(c, posterior))


class _OtherDraws(_NoConstant):
    def log_prob(self, value):
        return self.base.log_prob(value)

    def sample(self, sample_shape=()):
        return self.base.mean + 1.3 * (self.base.sample(sample_shape) - self.base.mean)


class OtherDrawsInP(GoodPrior):
    def forward(self, c, posterior):
        return _OtherDraws(super().forward(c, posterior))


class Detached(GoodPrior):
    def forward(self, c, posterior):
        return _Deaf(super().forward(c, posterior))


class _Deaf(_NoConstant):
    def log_prob(self, value):
        return self.base.log_prob(value.detach())


class _Correlated(_NoConstant):
    def log_prob(self, value):
        return self.base.log_prob(value)

    def sample(self, sample_shape=()):
        z = self.base.sample(sample_shape)
        return torch.cat([z[..., :1], z[..., :1].expand_as(z[..., 1:])], -1)


class CorrelatedDraws(GoodPrior):
    def forward(self, c, posterior):
        return _Correlated(super().forward(c, posterior))


class GoodLikelihood(vaekit.Likelihood):
    """θ (N, *data_shape) gives log p in nats.

    References:
        This test (2026).
    """

    name = "good"
    support = constraints.real
    base_measure = "lebesgue"

    def __init__(self, data_shape):
        super().__init__()
        self.in_shape = self.out_shape = data_shape

    def forward(self, theta):
        return distributions.normal(theta, torch.full_like(theta, 0.5))


class Miscounting(GoodLikelihood):
    base_measure = "counting"


class NoUnit(GoodLikelihood):
    """θ (N, *data_shape).

    References:
        This test (2026).
    """


class _Mean(_NoConstant):
    def log_prob(self, value):
        return self.base.log_prob(value) / self.event_shape.numel()


class MeanOverPixels(GoodLikelihood):
    def forward(self, theta):
        return _Mean(super().forward(theta))


class DrawsElsewhere(GoodLikelihood):
    def forward(self, theta):
        return _OtherDraws(super().forward(theta))


class _OffMean(_OtherDraws):
    sample = _NoConstant.sample

    @property
    def mean(self):
        return self.base.mean + 0.2


class WrongMean(GoodLikelihood):
    def forward(self, theta):
        return _OffMean(super().forward(theta))


class NarrowSupport(GoodLikelihood):
    support = constraints.unit_interval


class Unpromoted(GoodLikelihood):
    def forward(self, theta):
        normal = Normal(theta, torch.full_like(theta, 0.5), validate_args=False)
        return Independent(normal, theta.dim() - 1, validate_args=False)


class GoodDiscrete(vaekit.Likelihood):
    """θ (N, *data_shape) gives log p in nats.

    References:
        This test (2026).
    """

    name = "good-discrete"
    support = constraints.boolean
    base_measure = "counting"

    def __init__(self, data_shape):
        super().__init__()
        self.in_shape = self.out_shape = data_shape

    def forward(self, theta):
        return distributions.bernoulli(theta)


class _NoFactorial(torch.distributions.Poisson):
    def log_prob(self, value):
        return value * self.rate.log() - self.rate


class WrongPoisson(GoodDiscrete):
    support = constraints.nonnegative_integer

    def forward(self, theta):
        return distributions.independent(_NoFactorial(theta.exp(), validate_args=False))


class _SquaredError(_NoConstant):
    def log_prob(self, value):
        return -((value - self.mean) ** 2).flatten(value.dim() - len(self.event_shape)).sum(-1)


class SquaredError(GoodDiscrete):
    def forward(self, theta):
        return _SquaredError(super().forward(theta))


class GoodDecoder(vaekit.Decoder):
    """z (N, *in_shape) gives θ (N, *out_shape).

    References:
        This test (2026).
    """

    name = "good"

    def __init__(self, in_shape, out_shape, context):
        super().__init__()
        self.layer = nn.Linear(torch.Size(in_shape).numel() + context, torch.Size(out_shape).numel())
        self.out_shape = out_shape

    def forward(self, z, c):
        return self.layer(join(z.flatten(1), c)).reshape(-1, *self.out_shape)


class Ignorant(GoodDecoder):
    def forward(self, z, c):
        return super().forward(z * 1e-12, c)


class IgnorantOfGrids(GoodDecoder):
    def forward(self, z, c):
        return super().forward(0 * z if z.dim() == 4 else z, c)


class Flat(GoodDecoder):
    def __init__(self, in_shape, out_shape, context):
        super().__init__(in_shape, (torch.Size(out_shape).numel(),), context)


class GoodLoss(vaekit.Loss):
    """x (N, *data_shape), in nats.

    References:
        This test (2026).
    """

    name = "good"

    def __init__(self, data_shape, root, examples):
        super().__init__()
        self.out_shape = ()

    def forward(self, model, x, c, player="model"):
        trace = model(x, c)
        elbo = trace.elbo().mean()
        parts = {"nelbo": -elbo, "kl": trace.kl().mean(), "reconstruction": -trace.log_px().mean()}
        return Terms(-elbo, {name: part.detach() for name, part in parts.items()})


class Attached(GoodLoss):
    def forward(self, model, x, c, player="model"):
        terms = super().forward(model, x, c)
        return Terms(terms.loss, {"nelbo": terms.loss})


class NotFinite(GoodLoss):
    def forward(self, model, x, c, player="model"):
        terms = super().forward(model, x, c)
        return Terms(terms.loss, {**terms.parts, "ratio": torch.tensor(torch.inf)})


class PerPixel(GoodLoss):
    def forward(self, model, x, c, player="model"):
        terms = super().forward(model, x, c)
        per_pixel = terms.parts["reconstruction"] / x[0].numel()
        return Terms(terms.loss, {"reconstruction": per_pixel})


class Summed(GoodLoss):
    def forward(self, model, x, c, player="model"):
        terms = super().forward(model, x, c)
        return Terms(terms.loss * len(x), terms.parts)


class Ascending(GoodLoss):
    def forward(self, model, x, c, player="model"):
        terms = super().forward(model, x, c)
        return Terms(-terms.loss.clamp(max=30), terms.parts)


class TwoOwners(GoodLoss):
    def players(self, model):
        return {"model": list(model.parameters()), "decoder": list(model.decoder.parameters())}


class OutOfReach(GoodLoss):
    def __init__(self, data_shape, root, examples):
        super().__init__(data_shape, root, examples)
        self.critic = nn.Linear(2, 2)

    def players(self, model):
        return {"model": list(model.parameters()), "critic": list(self.critic.parameters())}


class Strangers(GoodLoss):
    def players(self, model):
        return {"model": [nn.Parameter(torch.ones(()))]}


class EncoderOnly(GoodLoss):
    """A loss that trains the encoder only, and says the opposite. x (N, *data_shape), in nats.

    References:
        This test (2026).
    """

    def players(self, model):
        return {"encoder": list(model.encoder.parameters())}

    def forward(self, model, x, c, player="model"):
        terms = super().forward(model, x, c)
        return Terms(terms.loss - 2 * terms.loss.detach(), terms.parts)


for _part in list(globals().values()):
    if isinstance(_part, type) and issubclass(_part, vaekit.Part) and _part.__doc__ is None:
        _part.__doc__ = _part.__mro__[1].__doc__

BASES = [GoodEncoder, GoodContext, GoodLatent, GoodPrior, GoodLikelihood, GoodDiscrete, GoodDecoder, GoodLoss]

FAULTS: list[tuple[str, type[vaekit.Part], str]] = [
    ("registers", Unbounded, "option 'features' is an integer without bounds"),
    ("docstring", Silent, "states no shapes"),
    ("docstring", Unsourced, "has no source: a section 'References:'"),
    ("docstring", Undocumented, "says nothing of activation"),
    ("docstring", NoUnit, "states no unit: scores are in nats per example"),
    ("takes-shapes", WrongShape, r"(evaluation|training), 3 examples: h has shape \(3, 1, 4\), where \(3, 4\) is wanted"),
    ("takes-shapes", NoErrorOfItsOwn, r"in_shape \(5,\), context 0: ValueError: no vectors .*refuses with a ShapeError"),
    ("takes-shapes", RefusesAll, "it takes none of the shapes .*: give shapes that it takes .*not today"),
    (
        "takes-shapes",
        NoBatchOfOne,
        r"training, 1 example \(as the last batch of an epoch may have\): .*more than 1 value per channel",
    ),
    ("takes-shapes", NoSites, "the Draw has no sites"),
    ("takes-shapes", Flat, r"training, 3 examples: out_shape has shape \(105,\), where \(3, 7, 5\) is wanted"),
    ("options-are-json", Forgetful, r"spec\(\) has name, not name, features, activation"),
    ("bounds", Greedy, "option features = 64: OverflowError: too much"),
    ("bounds", Picky, "option activation = \"relu\": KeyError: 'relu'"),
    ("spec-rebuilds", Growing, "extra.weight is .*, and rebuilt"),
    ("float64", Single, "h is torch.float32 for a part and inputs in float64"),
    ("bf16-autocast", Explosive, "h is NaN"),
    ("bf16-autocast", Infinite16, "h is NaN or infinite"),
    ("bf16-autocast", RoundedScores, "log_p is torch.bfloat16: promote what scores"),
    ("gradients", Idle, "parameter idle.weight gets no gradient"),
    ("gradients", Infinite, "the gradient of layer.bias is not finite"),
    ("gradients", NoGradient, "no gradient of z reaches the first argument"),
    ("gradients", Detached, "no gradient of log_p reaches the second argument"),
    ("gradients", NoReparametrisation, "z has no gradient: draw by rsample, and detach nothing"),
    ("deterministic", Numpyish, "run twice from one seed, h differs"),
    ("saves", Secretive, "loaded, h differs .*: what it computes with belongs in parameters and buffers"),
    ("saves", Sharing, "share memory"),
    ("builds-on-meta", Itemised, "Tensor.item.. cannot be called on meta tensors"),
    ("tensors-are-registered", Unregistered, "scales is a tensor that would stay on the CPU: register_buffer"),
    ("changes-no-global-state", Meddling, "torch's float32 matmul precision is medium, was"),
    ("compiles", Branching, r"torch.compile\(fullgraph=True\) fails .*; or say compiles = False, and why"),
    ("compiles", SaysNotWhy, "the docstring must say why it does not compile"),
    ("exports", Branching, r"in_shape .*, context 3: torch.export fails with "),
    ("exports", OfOneSize, r"for one size of batch alone: take the size as x.shape\[0\]"),
    ("exports", TracedApart, "exported for 3 examples and run on 5, it differs"),
    ("rows-are-independent", Centred, "alone, an example gives something else than among four: h differs"),
    ("rows-are-independent", LeakySequences, r"in_shape \(6, 4\), context 0: alone, an example gives something else"),
    ("h-matters", ConstantCode, "the code is the same for six different h"),
    ("descends-as-it-trains", WrongWayDown, "under the prior of the second site what generate draws has log p of"),
    ("x-matters", Blind, "h is the same for six different x"),
    ("z-matters", Ignorant, "θ is the same for six different z"),
    ("z-matters", IgnorantOfGrids, r"in_shape \(4, 2, 3\), .*: θ is the same for six different z"),
    ("c-matters", Unconditioned, "h is the same for six different contexts"),
    ("y-matters", ConstantContext, "c is the same for 2 different y"),
    ("y-matters", OneSample, "200 times sample gives the same y, 0"),
    ("what-it-samples-it-takes", NoneForAll, "for 5 examples, parse makes 1 of [01]: one y is for all of them"),
    ("what-it-samples-it-takes", Lenient, "parse takes .* as the y of 5 examples"),
    ("what-it-samples-it-takes", Inverting, "means something else once parsed"),
    ("what-it-samples-it-takes", FewSamples, "asked for 5, sample gives 4"),
    ("kl-matches-monte-carlo", OtherDraws, "the closed KL is off the estimate by .* nats"),
    ("kl-matches-monte-carlo", NoConstantInQ, r"of their mass in common by draws from q and"),
    ("draws-come-from-the-posterior", TwoPosteriors, "q of the first site, the root, is not that of posterior: log q differs"),
    ("draws-come-from-the-posterior", OwnPrior, "p of the first site, the root, is not the prior that forward was given"),
    ("trains-as-it-generates", Doubling, "between forward and generate, z differs by up to .* for the same root"),
    ("generates", GeneratesNaN, "what generate gives is not finite floats"),
    ("code-is-deterministic", RandomCode, "run twice in training mode, the code differs"),
    ("prior-is-normalised", NoConstantInP, r"its probabilities come to 2.718 in all, not to 1"),
    ("prior-is-normalised", OtherDrawsInP, r"% of the draws lie at or below .*, where log_prob says"),
    ("prior-is-normalised", CorrelatedDraws, "% of the draws lie at or below"),
    ("likelihood-is-normalised", WrongPoisson, r"data_shape \(1,\): its probabilities come to"),
    ("likelihood-is-normalised", MeanOverPixels, r"data_shape \(2,\): its probabilities come to"),
    ("likelihood-is-normalised", SquaredError, r"data_shape \(1,\): its probabilities come to"),
    ("likelihood-is-normalised", DrawsElsewhere, "% of the draws lie at or below"),
    ("likelihood-is-normalised", Miscounting, "its draws hardly repeat: base_measure = 'lebesgue'"),
    ("mean-matches-samples", WrongMean, "the mean is off that of 4000 draws"),
    ("mean-matches-samples", NarrowSupport, "some of its draws lie outside of its support"),
    ("half-precision-is-promoted", Unpromoted, "θ in bf16 is scored .* nats off: promote it first"),
    ("terms-are-finite", Attached, "nelbo of player 'model' carries gradients: detach it"),
    ("terms-are-finite", NotFinite, "ratio of player 'model' is inf"),
    ("parts-are-in-nats", PerPixel, "reconstruction is .*, where the Trace says .* nats per example: sum over dimensions"),
    ("players-are-disjoint", TwoOwners, "is owned by both 'model' and 'decoder'"),
    ("players-are-disjoint", OutOfReach, "the loss of player 'critic' has no gradient"),
    ("players-are-disjoint", Strangers, "a parameter of player 'model' is neither the model's nor the loss's"),
    ("batch-doubling", Summed, "with every example twice: take the mean over the batch"),
    ("overfits-eight-points", Ascending, "after 400 steps on eight examples"),
    ("overfits-eight-points", EncoderOnly, "after 400 steps on eight examples loss went from"),
]


def _check(name: str, of: Any, options: Mapping[str, Any] | None = None) -> Callable[[], None]:
    return next(check for check in checks_for(of, options) if check.name == name)


@pytest.mark.parametrize(("name", "part", "said"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_fault_is_found(name: str, part: type[vaekit.Part], said: str) -> None:
    before = Ambient.now()
    with pytest.raises(CheckFailed, match=said):
        _check(name, part)()
    assert [change for change in before.changes() if "Python's random" not in change] == []  # beartype draws from it


@parametrize_with_checks(BASES)
def test_a_part_without_faults_passes(check) -> None:
    check()


def test_importing_that_prints_or_changes_global_state_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).read_text()
    part = source[source.index("class GoodEncoder") : source.index("class Unbounded")]
    head = "import torch, vaekit\nfrom torch import nn\nfrom typing import *\nfrom pydantic import Field\n"
    head += "import torch.nn.functional as F\nfrom vaekit import join\nWidth = Annotated[int, Field(ge=1, le=64)]\n"
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, line, said in (
        ("loud", "print('hello')\n", "importing loud prints 'hello"),
        (
            "meddler",
            "torch.set_default_dtype(torch.float64)\n",
            "importing meddler changes global state: torch's default dtype",
        ),
        (
            "dying",
            "import sys; sys.modules.get('pytest') or sys.exit(3)\n",
            "SystemExit: 3",
        ),
    ):
        (tmp_path / f"{name}.py").write_text(head + line + part)
        before = Ambient.now()
        module = __import__(name)
        before.restore()
        with pytest.raises(CheckFailed, match=said):
            _check("compiles" if name == "dying" else "imports-cleanly", module.GoodEncoder)()


def test_what_another_process_cannot_import_is_not_compiled() -> None:
    class Local(GoodEncoder):
        __doc__ = GoodEncoder.__doc__

    with pytest.raises(NotApplicable, match="is not in a module that another process can import"):
        _check("compiles", Local)()


def _stripes(**changes: Any) -> vaekit.DataSet:
    """A data set without faults, but for what is changed."""

    def load(path: str, root: Path) -> vaekit.Raw:
        x = torch.zeros(20, 1, 4, 4)
        x[::2] = 1
        found = {"train": Examples.of(x, torch.arange(20) % 2), "test": Examples.of(x[:4], torch.arange(4) % 2)}
        return changes.get("load", vaekit.Raw)({**found, **changes.get("splits", {})}, changes.get("classes", ("on", "off")))

    return vaekit.DataSet(changes.get("name", "stripes"), changes.get("summary", "stripes, 4x4"), changes.get("whole", load))


def _drawn(path: str, root: Path) -> vaekit.Raw:
    return vaekit.Raw({"train": Examples.of(torch.rand(20, 3))})


def _relative(path: str, root: Path) -> vaekit.Raw:
    raise vaekit.DataError("no data")


def _no_training(splits: dict[str, Examples], classes: tuple[str, ...]) -> vaekit.Raw:
    return vaekit.Raw({"test": splits["test"]}, classes)


def _twice(splits: dict[str, Examples], classes: tuple[str, ...]) -> vaekit.Raw:
    return vaekit.Raw({"train": splits["train"], "test": splits["train"]}, classes)


DATA_FAULTS: list[tuple[str, vaekit.DataSet, str]] = [
    ("is-named", _stripes(name="My Stripes"), "its name is 'My Stripes'"),
    ("is-named", _stripes(summary=" "), "one line of text"),
    ("splits", _stripes(load=_no_training), "it has splits test: 'train' is needed"),
    ("splits", _stripes(splits={"dev": Examples.of(torch.zeros(2, 1, 4, 4))}), "it has a split 'dev'"),
    ("splits", _stripes(splits={"test": Examples.of(torch.zeros(2, 1, 4, 5))}), r"test have shape \(1, 4, 5\), those of train"),
    ("splits", _stripes(splits={"test": Examples.of(torch.full((2, 1, 4, 4), torch.nan))}), "numbers that are not finite"),
    ("splits", _stripes(splits={"test": Examples.of(torch.zeros(0, 1, 4, 4))}), "its test split is empty"),
    ("splits", _stripes(splits={"test": Examples.of(torch.full((2, 1, 4, 4), 255.0))}), "test hold numbers from 255 to 255"),
    ("splits", _stripes(load=_twice), "its test split is its training examples again"),
    ("labels", _stripes(classes=("on",)), "a label of train is 1, and 1 classes have names"),
    ("labels", _stripes(classes=("on", "on")), "two of its classes have the same name"),
    ("loads-the-same-twice", _stripes(whole=_drawn), "differ from one loading to the next"),
    ("loading-changes-no-global-state", _stripes(whole=_drawn), "torch's random generator is another: draw from"),
    ("absent-data", _stripes(whole=_relative), "the error does not name the data root: no data"),
    (
        "trains",
        _stripes(splits={"train": Examples.of(torch.zeros(1, 1, 4, 4))}, load=lambda s, c: vaekit.Raw({"train": s["train"]})),
        "1 example",
    ),
]


@pytest.mark.parametrize(("name", "dataset", "said"), DATA_FAULTS)
def test_a_fault_of_a_data_set_is_found(name: str, dataset: vaekit.DataSet, said: str) -> None:
    with pytest.raises(CheckFailed, match=said):
        _check(name, dataset)()


@parametrize_with_checks([_stripes(), registry.dataset("digits")])
def test_a_data_set_without_faults_passes(check) -> None:
    check()


def test_a_data_set_that_takes_a_path(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((20, 4, 4), np.uint8))
    for check in checks_for(registry.dataset("npy"), {"path": tmp_path / "x.npy"}):
        check()
    with pytest.raises(NotApplicable, match="it takes a path"):
        _check("splits", registry.dataset("npy"))()
    with pytest.raises(vaekit.ConfigError, match="data set 'npy' has no option 'file' \\(options: only 'path'\\)"):
        list(checks_for(registry.dataset("npy"), {"file": "x"}))


def test_every_check_is_seen_to_fail() -> None:
    seen = {name for name, *_ in FAULTS + DATA_FAULTS} | {"imports-cleanly"}
    assert seen == {check.name for base in (*BASES, _stripes()) for check in checks_for(base)}
    assert {base.kind for base in BASES} | {"dataset"} == set(KINDS)


class Declared(Centred):
    __doc__ = GoodEncoder.__doc__
    expected_failures = {"rows-are-independent": "it centres the batch"}


class Needless(GoodEncoder):
    __doc__ = GoodEncoder.__doc__
    expected_failures = {"rows-are-independent": "it was thought to"}


class Misnamed(GoodEncoder):
    __doc__ = GoodEncoder.__doc__
    expected_failures = {"rows-are-independant": "it centres the batch"}


@parametrize_with_checks([Declared, (GoodEncoder, {"features": 7})], shapes=[(2, 3, 3)])
def test_expected_failures_and_options(check) -> None:
    check()


def test_what_parametrising_gives() -> None:
    found = {p.id: p for p in parametrize_with_checks([Declared, (GoodEncoder, {"features": 7})]).args[1]}
    assert "encoder good-x-matters" in found
    assert "encoder good(features=7)-x-matters" in found
    [mark] = found["encoder good-rows-are-independent"].marks
    assert mark.kwargs == {"reason": "it centres the batch", "raises": CheckFailed, "strict": True}
    assert not found["encoder good-x-matters"].marks


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (
            Misnamed.expected_failures,
            "names 'rows-are-independant', and there is no such check; did you mean 'rows-are-independent'",
        ),
        ({"saves": " "}, "gives no reason for 'saves': say why it cannot hold"),
        (["saves"], r"is \['saves'\]: write a mapping from names of checks to reasons"),
    ],
)
def test_failures_are_expected_of_checks_there_are_for_a_reason(stated: Any, said: str) -> None:
    first, *others = checks_for(GoodEncoder, expected_failures=stated)
    assert first.name == "expected-failures"
    with pytest.raises(CheckFailed, match=f"expected_failures {said}"):
        first()
    assert [check.name for check in others] == [check.name for check in checks_for(GoodEncoder)]


def test_what_is_expected_of_one_set_of_options() -> None:
    assert not any(check.expected for check in checks_for(Declared, expected_failures={}))
    [expected] = [c.name for c in checks_for(GoodEncoder, expected_failures={"saves": "it does not"}) if c.expected]
    assert expected == "saves"


def test_checks_can_be_left_out() -> None:
    every, some = (parametrize_with_checks([GoodEncoder], without=names) for names in ((), ("saves", "compiles")))
    names = [[param.values[0] for param in mark.args[1]] for mark in (every, some)]
    assert len(names[0]) == len(names[1]) + 2
    with pytest.raises(vaekit.ConfigError, match="there is no check 'compile' to leave out; did you mean 'compiles'"):
        parametrize_with_checks([GoodEncoder], without=["compile"])


def test_what_cannot_be_checked_is_said() -> None:
    for wrong in (GoodEncoder((2,), 0), int, "lstm", vaekit.Encoder.__mro__[1]):
        with pytest.raises(vaekit.ConfigError, match="is neither a part nor a data set: give the class, or the DataSet"):
            list(checks_for(wrong))
    with pytest.raises(CheckFailed, match="encoder 'good' has no option 'featres'; did you mean 'features'"):
        _check("takes-shapes", GoodEncoder, {"featres": 1})()


def test_checks_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    for check in checks_for(GoodLatent):
        check()
    assert torch.equal(torch.rand(3), wanted)


def _log_density(space: Space, at: torch.Tensor) -> torch.Tensor:
    """A density on each of the toy spaces that is known to integrate to one."""
    match space.support:
        case "codes":
            return torch.full(at.shape[:1], -torch.tensor(float(space.size)).log() * space.dimensions)
        case "sphere":
            return (at[:, 0] + 1).log() - np.log(2 * np.pi if space.dimensions == 2 else 4 * np.pi)
        case "ball":
            return 2 * torch.log(1 - (at**2).sum(1)) + np.log(3 / np.pi)
        case "simplex":
            return torch.distributions.Dirichlet(torch.tensor([1.5, 2.0, 3.0]).double()).log_prob(at)
    return Normal(0.5, 2).log_prob(at).flatten(1).sum(1)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_measures_of_spaces(space: Space) -> None:
    draws = torch.randn(5000, *space.shape)
    found = measured(space, draws)
    if space.dimensions > 4:
        assert found is None
        return
    points, weights = found
    assert points.shape == (len(weights), *space.shape)
    assert (_log_density(space, points).double().exp() * weights).sum().item() == pytest.approx(1, abs=1e-3)
    inside = {"ball": lambda p: p.norm(dim=1) < 1, "sphere": lambda p: (p.norm(dim=1) - 1).abs() < 1e-6}
    for some in (points, scattered(space, 50)):
        assert inside.get(space.support, lambda p: torch.ones(1))(some).all()


def test_the_page_lists_every_check() -> None:
    page = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### ([\w ]+)\n\n((?:\|.*\n)+)", page, flags=re.MULTILINE))
    rows = {
        title: dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text, flags=re.MULTILINE)) for title, text in sections.items()
    }
    for base in (*BASES, _stripes()):
        wanted = {check.name: check.about for check in checks_for(base)}
        kind = getattr(base, "kind", "data sets").capitalize()
        shared = {} if kind == "Data sets" else rows["Every part"]
        if kind == "Loss":
            shared = {name: about for name, about in shared.items() if name != "rows-are-independent"}
        assert {**shared, **rows[kind]} == wanted
    assert len(rows) == len(KINDS) + 1


def _said(*arguments: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    """What `vaekit check` prints, on standard output and on standard error."""
    with pytest.raises(SystemExit) as ended:
        app(["check", *arguments])
    assert ended.value.code == code
    out, err = capsys.readouterr()
    return out, err


def test_checking_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = _said("encoder", "mlp", "encoder.hidden=[7]", "--shape", "1,4,4", capsys=capsys)
    title, *rows, _, summary = out.splitlines()
    assert title.split() == ["part", "check", "result"]
    names = [check.name for check in checks_for(registry.find("encoder", "mlp"))]
    assert [re.split(r"\s{2,}", row) for row in rows] == [["encoder mlp(hidden=[7])", name, "ok"] for name in names]
    assert re.fullmatch(rf"{len(names)} checks in [\d.]+ s, none failed", summary)
    rows = json.loads(_said("digits", "--json", capsys=capsys)[0])
    assert rows[1] == {
        "part": "dataset digits",
        "check": "splits",
        "outcome": "ok",
        "message": "",
        "seconds": rows[1]["seconds"],
    }
    out, _ = _said(f"npy:{tmp_path}", capsys=capsys, code=1)
    assert f"splits                              FAILED: DataError: {tmp_path} is a folder, no file" in out
    assert {row.split()[1] for row in _said("bernoulli", capsys=capsys)[0].splitlines()[1:-2]} == {"bernoulli"}


def test_checking_a_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    good = Plugin("vaekit-good", "1.0", "good", (Declared, Centred), (), 0.5, "", ("it printed 'hello': remove the print",))
    broken = Plugin("vaekit-bad", "1.0", "bad", error="ImportError: no: install it", traceback="Traceback of it")
    loaded = Plugins([*plugins().all, good, broken])
    monkeypatch.setattr("vaekit.plugins._loaded", lambda: loaded)
    out, err = _said("vaekit-good", capsys=capsys, code=1)
    rows = {(row[:32].strip(), row[34:68].strip()): row[70:] for row in out.splitlines()[1:-2]}
    assert rows["plugin good", "loads"] == "ok"
    assert rows["plugin good", "loads-cleanly"] == "FAILED: it printed 'hello': remove the print"
    clash = "encoder 'good' is brought twice by vaekit-good, and so not in use: pip install --upgrade vaekit-good"
    assert rows["plugin good", "clashes-with-no-other"].startswith(f"FAILED: {clash}")
    assert rows["encoder good", "rows-are-independent"].startswith("FAILED: in_shape (3, 7, 5), context 0: alone, an example")
    assert "rows-are-independent                expected failure: it centres the batch" in out
    assert out.splitlines()[-1].endswith("3 failed")
    out, err = _said("vaekit-bad", capsys=capsys, code=1)
    assert "loads                               FAILED: ImportError: no: install it" in out
    assert "Traceback of it" in err


def test_a_check_that_passes_though_it_should_fail_has_failed() -> None:
    [result] = [made(check) for check in checks_for(Needless) if check.expected]
    assert (result.outcome, result.message) == (
        "FAILED",
        "it was expected to fail (it was thought to), and holds: take it out of expected_failures",
    )


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            ["lsmt"],
            vaekit.UnknownPart,
            r"no package, part or data set is called 'lsmt'; did you mean 'lstm'\? \(packages: vaekit, ",
        ),
        (["encoder", "lsmt"], vaekit.UnknownPart, "unknown encoder 'lsmt'; did you mean 'lstm'"),
        (["a", "b", "c"], vaekit.ConfigError, r"what is to be checked\? vaekit check PACKAGE, or vaekit check \[KIND\] NAME"),
        (["vaekit", "encoder.hidden=3"], vaekit.ConfigError, "options are for one part: vaekit check KIND NAME"),
        (["encoder", "mlp", "decoder.hidden=3"], vaekit.ConfigError, "no decoder is to be checked, so it has no options here"),
        (
            ["mlp", "--shape", "3,0"],
            vaekit.ConfigError,
            "--shape 3,0: give one to three sizes with commas between, such as 3,32,32",
        ),
        (["nope:x"], vaekit.UnknownPart, "unknown dataset 'nope'"),
        (["digits:x"], vaekit.ConfigError, r"data set 'digits' has no option 'path' \(options: none\)"),
    ],
)
def test_what_cannot_be_checked(arguments: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        app(["check", *arguments])
