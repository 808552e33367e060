"""Parts that are right and look strange pass the conformance suite: what the field needs must not raise false alarms."""

from math import log, prod

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import (
    Beta,
    Categorical,
    Distribution,
    Independent,
    LogNormal,
    MixtureSameFamily,
    NegativeBinomial,
    Normal,
    Poisson,
    RelaxedOneHotCategorical,
    StudentT,
    constraints,
)

import vaekit
from vaekit import ConfigError, Draw, ShapeError, Site, Space, Terms, distributions, feature_axis, join, widen
from vaekit.testing import parametrize_with_checks


def _dense(in_shape, context, width):
    return nn.Linear(prod(in_shape) + context, width)


class VQ(vaekit.Latent):
    """A codebook with a gradient: h (N, *in_shape) gives z (S, N, 12).

    References:
        Neural Discrete Representation Learning (2017), https://arxiv.org/abs/1711.00937, eq. 3.
    """

    name = "vq"

    def __init__(self, in_shape, context):
        super().__init__()
        self.head = _dense(in_shape, context, 12)
        self.book = nn.Embedding(32, 4)
        self.root, self.out_shape = Space((3,), "codes", 32), (12,)

    def features(self, h, c):
        return self.head(join(h.flatten(1), c)).unflatten(1, (3, 4))

    def vectors(self, codes):
        return self.book(codes)

    def nearest(self, e):
        return torch.cdist(e, self.vectors(torch.arange(32, device=e.device)).to(e.dtype)[None]).argmin(-1)

    def posterior(self, h, c):
        return distributions.PointMass(self.nearest(self.features(h, c)))

    def forward(self, h, c, prior, samples):
        e = self.features(h, c)
        codes = self.nearest(e)
        z = self.vectors(codes)
        penalty = ((z - e.detach()) ** 2 + 0.25 * (z.detach() - e) ** 2).sum((1, 2))
        through = (e + (z - e).detach()).flatten(1)
        site = Site(distributions.PointMass(codes), prior, codes.expand(samples, *codes.shape))
        return Draw(through.expand(samples, *through.shape), (site,), penalty)

    def generate(self, root, c):
        return self.vectors(root).flatten(1)

    def code(self, h, c):
        return self.generate(self.nearest(self.features(h, c)), c)


class EmaVQ(VQ):
    """A codebook that moves: h (N, *in_shape) gives z (S, N, 12).

    References:
        Neural Discrete Representation Learning (2017), https://arxiv.org/abs/1711.00937, appendix A.1.
    """

    name = "ema-vq"

    def __init__(self, in_shape, context):
        super().__init__(in_shape, context)
        self.register_buffer("moving", self.book.weight.detach().clone())
        del self.book

    def vectors(self, codes):
        return F.embedding(codes, self.moving)

    def forward(self, h, c, prior, samples):
        draw = super().forward(h, c, prior, samples)
        if self.training:
            with torch.no_grad():
                e = self.features(h, c)
                codes = F.one_hot(self.nearest(e), 32).flatten(0, 1).to(self.moving.dtype)
                means = codes.T @ e.flatten(0, 1).to(self.moving.dtype) / codes.sum(0).clamp(min=1)[:, None]
                self.moving.lerp_(means, 0.1)
        return draw


class LaplaceLatent(vaekit.Latent):
    """A posterior without a closed KL: h (N, *in_shape) gives z (S, N, 3).

    References:
        This test (2026).
    """

    name = "laplace"

    def __init__(self, in_shape, context):
        super().__init__()
        self.head = _dense(in_shape, context, 6)
        self.root, self.out_shape = Space((3,)), (3,)

    def moments(self, h, c):
        loc, s = distributions.promote(*self.head(join(h.flatten(1), c)).chunk(2, 1))
        return loc, F.softplus(s) + 1e-3

    def posterior(self, h, c):
        return distributions.laplace(*self.moments(h, c))

    def forward(self, h, c, prior, samples):
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root, c):
        return root

    def code(self, h, c):
        return self.moments(h, c)[0]


class _Sinh(Distribution):
    arg_constraints = {}

    def __init__(self, base, bend):
        self.base, self.bend = base, bend
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def rsample(self, sample_shape=()):
        return torch.sinh(self.base.rsample(sample_shape) * self.bend)

    def log_prob(self, value):
        slope = self.bend.log() + 0.5 * torch.log1p(value**2)
        return self.base.log_prob(torch.asinh(value) / self.bend) - slope.expand_as(value).sum(-1)


class Flow(LaplaceLatent):
    """A posterior without a mean of its own: h (N, *in_shape) gives z (S, N, 3).

    References:
        Variational Inference with Normalizing Flows (2015), https://arxiv.org/abs/1505.05770.
    """

    name = "flow"

    def __init__(self, in_shape, context):
        super().__init__(in_shape, context)
        self.log_bend = nn.Parameter(torch.zeros(3))

    def posterior(self, h, c):
        (bend,) = distributions.promote(self.log_bend.exp())
        return _Sinh(distributions.normal(*self.moments(h, c)), bend)

    def code(self, h, c):
        return torch.sinh(self.moments(h, c)[0] * self.log_bend.exp())


class Ladder(vaekit.Latent):
    """Two levels: h (N, *in_shape) gives z (S, N, 4).

    References:
        Ladder Variational Autoencoders (2016), https://arxiv.org/abs/1602.02282.
    """

    name = "ladder"

    def __init__(self, in_shape, context):
        super().__init__()
        self.top, self.low = _dense(in_shape, context, 4), _dense(in_shape, context + 2, 8)
        self.down = nn.Linear(2 + context, 8)
        self.root, self.out_shape = Space((2,)), (4,)

    def moments(self, layer, x):
        loc, s = distributions.promote(*layer(x).chunk(2, -1))
        return loc, F.softplus(s) + 1e-3

    def lower(self, layer, *inputs):
        return Independent(Normal(*self.moments(layer, torch.cat(inputs, -1)), validate_args=False), 1, validate_args=False)

    def posterior(self, h, c):
        return distributions.normal(*self.moments(self.top, join(h.flatten(1), c)))

    def forward(self, h, c, prior, samples):
        x = join(h.flatten(1), c)
        q = self.posterior(h, c)
        root = q.rsample((samples,))
        below = self.lower(self.low, x.expand(samples, *x.shape), root.to(x.dtype))
        p = self.lower(self.down, root.to(x.dtype), c.expand(samples, *c.shape))
        z = below.rsample()
        return Draw(z, (Site(q, prior, root), Site(below, p, z)))

    def generate(self, root, c):
        return self.lower(self.down, root.to(c.dtype), c).sample()

    def code(self, h, c):
        x = join(h.flatten(1), c)
        return self.moments(self.low, torch.cat([x, self.moments(self.top, x)[0].to(x.dtype)], -1))[0]


class Gumbel(vaekit.Latent):
    """Relaxed categories: h (N, *in_shape) gives z (S, N, 3).

    References:
        Categorical Reparameterization with Gumbel-Softmax (2016), https://arxiv.org/abs/1611.01144.
    """

    name = "gumbel"

    def __init__(self, in_shape, context):
        super().__init__()
        self.head = _dense(in_shape, context, 3)
        self.root, self.out_shape = Space((3,), "simplex"), (3,)

    def posterior(self, h, c):
        (logits,) = distributions.promote(self.head(join(h.flatten(1), c)))
        temperature = torch.tensor(0.67, dtype=logits.dtype, device=logits.device)
        return RelaxedOneHotCategorical(temperature, logits=logits, validate_args=False)

    def forward(self, h, c, prior, samples):
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root, c):
        return root

    def code(self, h, c):
        return self.head(join(h.flatten(1), c)).softmax(1)


class Point(vaekit.Latent):
    """z is h: h (N, *in_shape) gives z (S, N, D), and no density.

    References:
        From Variational to Deterministic Autoencoders (2019), https://arxiv.org/abs/1903.12436.
    """

    name = "point"

    def __init__(self, in_shape, context):
        super().__init__()
        self.out_shape = (prod(in_shape),)
        self.root = Space(self.out_shape)

    def posterior(self, h, c):
        return distributions.PointMass(h.flatten(1))

    def forward(self, h, c, prior, samples):
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root, c):
        return root

    def code(self, h, c):
        return h.flatten(1)


class CodesPrior(vaekit.Prior):
    """Independent codes: c (N, C) gives a batch of (N,).

    References:
        Neural Discrete Representation Learning (2017), https://arxiv.org/abs/1711.00937.
    """

    name = "codes"

    def __init__(self, root, data_shape, context):
        super().__init__()
        if root.support != "codes":
            raise ShapeError("it is over codes")
        self.logits = nn.Parameter(torch.zeros(*root.shape, root.size))
        self.out_shape = root.shape

    def forward(self, c, posterior):
        (logits,) = distributions.promote(self.logits)
        return distributions.independent(Categorical(logits=logits.expand(len(c), *logits.shape), validate_args=False))


class Mixture(vaekit.Prior):
    """Ten narrow normals far apart: c (N, C) gives a batch of (N,).

    References:
        This test (2026).
    """

    name = "mixture"

    def __init__(self, root, data_shape, context):
        super().__init__()
        if root.support != "real":
            raise ShapeError("it is on a real space")
        self.loc = nn.Parameter(3 * torch.randn(10, *root.shape))
        self.log_scale = nn.Parameter(torch.full((10, *root.shape), log(0.05)))
        self.out_shape = root.shape

    def forward(self, c, posterior):
        loc, scale = (p.expand(len(c), *p.shape) for p in distributions.promote(self.loc, self.log_scale.exp()))
        each = Independent(Normal(loc, scale, validate_args=False), len(self.out_shape), validate_args=False)
        return MixtureSameFamily(Categorical(logits=loc.new_zeros(len(c), 10), validate_args=False), each, validate_args=False)


class _Mix(Distribution):
    arg_constraints = {}

    def __init__(self, q, n):
        self.q = q
        super().__init__(torch.Size((n,)), q.event_shape, validate_args=False)

    def log_prob(self, value):
        at = value.dim() - len(self.event_shape)
        return self.q.log_prob(value.unsqueeze(at)).logsumexp(-1) - log(self.q.batch_shape[0])

    def sample(self, sample_shape=()):
        every = self.q.sample((*sample_shape, *self.batch_shape))
        k = torch.randint(self.q.batch_shape[0], (*sample_shape, *self.batch_shape))
        index = k.reshape(*k.shape, 1, *(1 for _ in self.event_shape)).expand(*k.shape, 1, *self.event_shape)
        return every.gather(k.dim(), index).squeeze(k.dim())


class Vamp(vaekit.Prior):
    """A mixture of posteriors, on any space: c (N, C) gives a batch of (N,).

    References:
        VAE with a VampPrior (2017), https://arxiv.org/abs/1705.07120, eq. 9.
    """

    name = "vamp"

    def __init__(self, root, data_shape, context):
        super().__init__()
        self.x, self.c = nn.Parameter(torch.rand(7, *data_shape)), nn.Parameter(torch.randn(7, context))
        self.out_shape = root.shape

    def forward(self, c, posterior):
        return _Mix(posterior(self.x, self.c), len(c))


class _Positive(vaekit.Likelihood):
    """θ (N, *in_shape) gives log p in nats. It is not compiled here.

    References:
        This test (2026).
    """

    base_measure = "lebesgue"
    compiles = False
    times = 2

    def __init__(self, data_shape):
        super().__init__()
        self.out_shape, self.in_shape = data_shape, widen(data_shape, times=self.times)

    def apart(self, theta):
        return distributions.promote(*theta.chunk(self.times, 1 + feature_axis(self.out_shape)))


class Student(_Positive):
    __doc__ = _Positive.__doc__
    name, support, times = "student", constraints.real, 3
    expected_failures = {"exports": "the mean of torch's StudentT assigns where a mask says so, which has no graph"}

    def forward(self, theta):
        loc, s, d = self.apart(theta)
        return distributions.independent(StudentT(2.1 + F.softplus(d), loc, F.softplus(s) + 1e-3, validate_args=False))


class Betas(_Positive):
    __doc__ = _Positive.__doc__
    name, support = "beta", constraints.unit_interval

    def forward(self, theta):
        a, b = self.apart(theta)
        return distributions.independent(Beta(F.softplus(a) + 0.3, F.softplus(b) + 0.3, validate_args=False))


class LogNormals(_Positive):
    __doc__ = _Positive.__doc__
    name, support = "log-normal", constraints.positive

    def forward(self, theta):
        loc, s = self.apart(theta)
        return distributions.independent(LogNormal(loc, F.softplus(s), validate_args=False))


class Counts(_Positive):
    __doc__ = _Positive.__doc__
    name, support, base_measure, times = "poisson", constraints.nonnegative_integer, "counting", 1

    def forward(self, theta):
        return distributions.independent(Poisson(self.apart(theta)[0].exp(), validate_args=False))


class Bursts(_Positive):
    __doc__ = _Positive.__doc__
    name, support, base_measure = "negative-binomial", constraints.nonnegative_integer, "counting"

    def forward(self, theta):
        r, logits = self.apart(theta)
        return distributions.independent(NegativeBinomial(F.softplus(r) + 0.5, logits=logits, validate_args=False))


class ZeroHead(vaekit.Decoder):
    """A last layer and a modulation by c that begin as nothing: z (N, *in_shape) gives θ (N, *out_shape).

    References:
        Scalable Diffusion Models with Transformers (2022), https://arxiv.org/abs/2212.09748.
    """

    name = "zero-head"

    def __init__(self, in_shape, out_shape, context):
        super().__init__()
        self.body, self.head = _dense(in_shape, 0, 16), nn.Linear(16, prod(out_shape))
        self.shift = nn.Linear(context, 16) if context else None
        for layer in filter(None, (self.head, self.shift)):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.out_shape = out_shape

    def forward(self, z, c):
        h = self.body(z.flatten(1))
        h = h if self.shift is None else h + self.shift(c)
        return self.head(F.silu(h)).reshape(-1, *self.out_shape)


class Noisy(vaekit.Encoder):
    """Dropout, group and spectral normalisation: x (N, C, H, W) gives h (N, 16).

    References:
        Spectral Normalization (2018), https://arxiv.org/abs/1802.05957.
    """

    name = "noisy"

    def __init__(self, in_shape, context):
        super().__init__()
        if len(in_shape) != 3:
            raise ShapeError("it is for images")
        self.conv = nn.Conv2d(in_shape[0] + context, 16, 3, padding=1)
        self.norm, self.drop = nn.GroupNorm(4, 16), nn.Dropout(0.2)
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16))
        self.out_shape = (16,)

    def forward(self, x, c):
        return self.head(self.drop(F.relu(self.norm(self.conv(join(x, c))))).mean((2, 3)))


class Frozen(vaekit.Encoder):
    """Features that are not trained and know no context: x (N, *in_shape) gives h (N, 16).

    References:
        Random Features for Large-Scale Kernel Machines (2007).
    """

    name = "frozen"

    def __init__(self, in_shape, context):
        super().__init__()
        self.layer = _dense(in_shape, 0, 16).requires_grad_(False)
        self.out_shape = (16,)

    def forward(self, x, c):
        return self.layer(x.flatten(1))


class Vectors(vaekit.Context):
    """Real numbers: y (N, 3) gives c (N, 3).

    References:
        This test (2026).
    """

    name = "vectors"

    def __init__(self):
        super().__init__()
        self.out_shape = (3,)

    def forward(self, y, n):
        return y.to(self.empty)

    def parse(self, y, n, classes):
        try:
            given = torch.as_tensor(y, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError("y is three numbers") from None
        given = given[None] if given.dim() == 1 else given
        if given.dim() != 2 or given.shape[1] != 3 or len(given) not in (1, n) or not given.isfinite().all():
            raise ConfigError("y is three numbers, for all or for each")
        return given.expand(n, 3)

    def sample(self, n):
        return torch.randn(n, 3)


class IWAE(vaekit.Loss):
    """x (N, *data_shape), in nats; the KL is that of the draws.

    References:
        Importance Weighted Autoencoders (2015), https://arxiv.org/abs/1509.00519, eq. 8.
    """

    name = "iwae"

    def __init__(self, data_shape, root, examples):
        super().__init__()
        self.out_shape = ()

    def forward(self, model, x, c, player="model"):
        trace = model(x, c, 5)
        weight = trace.log_weight()
        loss = log(5) - weight.logsumexp(0).mean()
        parts = {"iwae": loss, "kl_mc": (trace.log_px() - weight).mean(), "reconstruction": -trace.log_px().mean()}
        return Terms(loss, {name: part.detach() for name, part in parts.items()})


class Critic(vaekit.Loss):
    """x (N, *data_shape), in nats; a critic of z with a penalty on its gradient. A gradient within keeps it from compiling.

    References:
        Improved Training of Wasserstein GANs (2017), https://arxiv.org/abs/1704.00028.
    """

    name = "critic"
    compiles = False

    def __init__(self, data_shape, root, examples):
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(root.dimensions, 32), nn.Softplus(), nn.Linear(32, 1))
        self.out_shape = ()

    def players(self, model):
        return {"model": [p for p in model.parameters() if p.requires_grad], "critic": list(self.critic.parameters())}

    def forward(self, model, x, c, player="model"):
        trace = model(x, c)
        site = trace.draw.sites[0]
        z = site.z[0]
        if player == "model":
            reconstruction, gap = -trace.log_px().mean(), -self.critic(z).mean() + trace.kl().mean()
            return Terms(reconstruction + 0.1 * gap, {"reconstruction": reconstruction.detach(), "gap": gap.detach()})
        z, p = z.detach(), site.p.sample()
        between = torch.lerp(z, p, torch.rand(len(z), 1, dtype=z.dtype)).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        loss = self.critic(z).mean() - self.critic(p).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        return Terms(loss, {"critic": loss.detach()})


class PriorNLL(vaekit.Loss):
    """x (N, *data_shape), in nats; it trains the prior alone.

    References:
        Neural Discrete Representation Learning (2017), https://arxiv.org/abs/1711.00937, section 3.3.
    """

    name = "prior-nll"

    def __init__(self, data_shape, root, examples):
        super().__init__()
        self.out_shape = ()

    def players(self, model):
        return {"prior": list(model.prior.parameters())}

    def forward(self, model, x, c, player="prior"):
        site = model(x, c).draw.sites[0]
        loss = -site.p.log_prob(site.z.detach()).mean()
        return Terms(loss, {"prior_nll": loss.detach()})


class MMD(vaekit.Loss):
    """x (N, *data_shape), in nats; a discrepancy that counts every pair of a batch.

    References:
        Wasserstein Auto-Encoders (2017), https://arxiv.org/abs/1711.01558, algorithm 2.
    """

    name = "mmd"
    expected_failures = {"batch-doubling": "the estimate of the discrepancy is biased by the size of the batch"}

    def __init__(self, data_shape, root, examples):
        super().__init__()
        self.out_shape = ()

    def forward(self, model, x, c, player="model"):
        trace = model(x, c)
        site = trace.draw.sites[0]
        z, p = site.z[0], site.p.rsample()
        kernels = [1 / (1 + torch.cdist(a, b) ** 2) for a, b in ((z, z), (p, p), (z, p))]
        gap = kernels[0].mean() + kernels[1].mean() - 2 * kernels[2].mean()
        reconstruction = -trace.log_px().mean()
        return Terms(reconstruction + 10 * gap, {"reconstruction": reconstruction.detach(), "gap": gap.detach()})


AWKWARD = [
    *(VQ, EmaVQ, LaplaceLatent, Flow, Ladder, Gumbel, Point),
    *(CodesPrior, Mixture, Vamp),
    *(Student, Betas, LogNormals, Counts, Bursts),
    *(ZeroHead, Noisy, Frozen, Vectors),
    *(IWAE, Critic, PriorNLL, MMD),
]


@parametrize_with_checks(AWKWARD)
def test_no_false_alarm(check) -> None:
    check()
