"""The regularised autoencoder: its terms, and whose gradients they are."""

import pytest
import torch
from torch import nn
from torch.distributions import Distribution
from vaekit_losses import RAE

import vaekit
from vaekit import Draw, Site, Space, distributions

DATA, CODE, SCALE = 5, 3, 0.5


class Point(vaekit.Latent):
    """z is a linear map of h, without chance."""

    name = "point"

    def __init__(self, in_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_shape[0], CODE)
        self.out_shape = (CODE,)
        self.root = Space((CODE,))

    def posterior(self, h: torch.Tensor, c: torch.Tensor) -> Distribution:
        return distributions.PointMass(self.head(h))

    def forward(self, h: torch.Tensor, c: torch.Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return root

    def code(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.head(h)


class Normals(vaekit.Likelihood):
    """Normals of one width, whose mean is θ."""

    name, base_measure, support = "normals", "lebesgue", torch.distributions.constraints.real

    def __init__(self, data_shape: vaekit.Shape) -> None:
        super().__init__()
        self.out_shape = self.in_shape = data_shape

    def forward(self, theta: torch.Tensor) -> Distribution:
        return distributions.normal(theta, torch.full_like(theta, SCALE))


class Linear(vaekit.Decoder):
    """x̂ = W z + b, whose Jacobian is W."""

    name = "linear"

    def __init__(self, in_shape: vaekit.Shape, out_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_shape[0], out_shape[0])
        self.out_shape = out_shape

    def forward(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.layer(z)


def _model() -> vaekit.VAE:
    built, _ = vaekit.build(vaekit.Config(data_shape=(DATA,), likelihood="bernoulli", encoder={"name": "mlp", "hidden": [8]}))
    latent = Point(built.encoder.out_shape, 0)
    parts = {"context": built.context, "encoder": built.encoder, "prior": built.prior}
    return vaekit.VAE(latent=latent, decoder=Linear((CODE,), (DATA,), 0), likelihood=Normals((DATA,)), **parts)


def _terms(model: vaekit.VAE, x: torch.Tensor, **options: object) -> vaekit.Terms:
    return RAE((DATA,), model.latent.root, 64, **options)(model, x, x[:, :0])


def _by_hand(model: vaekit.VAE, x: torch.Tensor, beta: float, weight: float) -> torch.Tensor:
    z = model.latent.head(model.encoder(x, x[:, :0]))
    log_px = torch.distributions.Normal(model.decoder.layer(z), SCALE).log_prob(x).sum(1)
    squares = (model.decoder.layer.weight**2).sum() + (model.decoder.layer.bias**2).sum()
    return (-log_px + beta / 2 * (z**2).sum(1)).mean() + weight * squares


def test_its_terms_and_gradients_are_there_once() -> None:
    model, x = _model(), torch.randn(7, DATA)
    terms, wanted = _terms(model, x, beta=0.3, weight=0.2), _by_hand(model, x, 0.3, 0.2)
    torch.testing.assert_close(terms.loss, wanted)
    [own] = RAE((DATA,), model.latent.root, 64).players(model).values()
    for got, gradient in zip(*(torch.autograd.grad(loss, own) for loss in (terms.loss, wanted)), strict=True):
        torch.testing.assert_close(got, gradient)
    assert set(terms.parts) == {"reconstruction", "code", "decoder_l2"}


def test_without_a_penalty_nothing_is_left_of_it() -> None:
    model, x = _model(), torch.randn(7, DATA)
    terms = _terms(model, x, beta=0.3, penalty="none", weight=0.2)
    torch.testing.assert_close(terms.loss, _by_hand(model, x, 0.3, 0.0))
    assert set(terms.parts) == {"reconstruction", "code"}


def test_the_gradient_penalty_is_the_squared_norm_of_the_jacobian() -> None:
    model, x = _model(), torch.randn(4000, DATA)
    weight = model.decoder.layer.weight
    found = _terms(model, x, penalty="gradient").parts["decoder_gradient"]
    each = (torch.randn(4000, DATA) @ weight.detach()).square().sum(1)
    wanted = weight.square().sum()
    assert (found - wanted).abs() < 5 * each.std() / 4000**0.5
    terms = _terms(model, x, beta=0.0, penalty="gradient", weight=100.0)
    plain = _terms(model, x, beta=0.0, penalty="none")
    (slope,) = torch.autograd.grad(terms.loss - plain.loss, weight)
    torch.testing.assert_close(slope / 100, 2 * weight, atol=0.3, rtol=0)
    assert slope.norm() > 50


@pytest.mark.parametrize("how", ["evaluated", "frozen"])
def test_the_gradient_penalty_is_there_where_nothing_trains_the_encoder(how: str) -> None:
    model, x = _model(), torch.randn(4000, DATA)
    wanted = model.decoder.layer.weight.square().sum().item()
    if how == "evaluated":
        with torch.no_grad():
            terms = _terms(model.eval(), x, penalty="gradient", weight=2.0)
        assert not terms.loss.requires_grad
    else:
        model.encoder.requires_grad_(False)
        model.latent.requires_grad_(False)
        terms = _terms(model, x, penalty="gradient", weight=2.0)
        terms.loss.backward()
        assert model.decoder.layer.weight.grad.norm() > 0
    found = terms.parts["decoder_gradient"].item()
    assert found == pytest.approx(wanted, rel=0.1)
    torch.testing.assert_close(terms.loss.detach(), terms.parts["reconstruction"] + 0.1 * terms.parts["code"] + 2 * found)


@pytest.mark.parametrize("penalty", ["l2", "gradient", "none"])
def test_it_is_per_example_whatever_the_batch(penalty: str) -> None:
    model, x = _model(), torch.randn(600, DATA)
    whole, part = (_terms(model, given, penalty=penalty, weight=0.1).loss for given in (x.repeat(5, 1), x))
    torch.testing.assert_close(whole, part, rtol=0.05 if penalty == "gradient" else 1e-5, atol=1e-4)


def test_it_trains_a_point_without_the_prior_and_runs_without_gradients() -> None:
    model, x = _model(), torch.randn(16, DATA)
    model.prior.loc = nn.Parameter(torch.zeros(CODE))
    loss = RAE((DATA,), model.latent.root, 64, penalty="gradient")
    assert not any(p is model.prior.loc for own in loss.players(model).values() for p in own)
    reports = list(vaekit.train(model, loss, [x], epochs=60, lr=1e-2))
    assert reports[-1].terms["loss"] < 0.7 * reports[0].terms["loss"]
    with torch.no_grad():
        assert loss(model, x, x[:, :0]).loss.isfinite()


def test_what_it_cannot_regularise_is_refused() -> None:
    model, x = _model(), torch.randn(7, DATA)
    with pytest.raises(vaekit.ShapeError, match="space of codes"):
        RAE((DATA,), Space((2,), "codes", 5), 64)
    draw = model.latent.forward

    class Hidden(Point):
        def forward(self, *arguments: object) -> Draw:
            found = draw(*arguments)
            return Draw(found.z, found.sites * 2)

    model.latent = Hidden(model.encoder.out_shape, 0)
    with pytest.raises(vaekit.ConfigError, match="one layer"):
        _terms(model, x)


def test_a_mean_without_a_gradient_is_refused() -> None:
    model, x = _model(), torch.randn(7, DATA)

    class Drawn(Normals):
        def forward(self, theta: torch.Tensor) -> Distribution:
            p = distributions.normal(theta, torch.full_like(theta, SCALE))
            p.__class__ = type("Sampled", (type(p),), {"mean": property(lambda self: self.sample())})
            return p

    class Unknown(Normals):
        def forward(self, theta: torch.Tensor) -> Distribution:
            p = distributions.normal(theta, torch.full_like(theta, SCALE))
            p.__class__ = type("Sampled", (type(p),), {"mean": Distribution.mean})
            return p

    for likelihood, why in ((Drawn, "'normals' has one without a gradient"), (Unknown, "'normals' has none in closed form")):
        model.likelihood = likelihood((DATA,))
        with pytest.raises(vaekit.ConfigError, match=f"loss 'rae'.*{why}"):
            _terms(model, x, penalty="gradient")
        assert _terms(model, x).loss.isfinite()
