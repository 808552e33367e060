"""What the discriminators see and what the other players make of it, against what is known."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from vaekit_adversarial import VAEGAN, WAEGAN, Factor
from vaekit_adversarial.factor import permuted

import vaekit
from vaekit import Draw, Site, Space, Trace, distributions

GUESSING = math.log(2)


def _normal(n: int, shape: tuple[int, ...] = (2,), loc: float = 0.0) -> torch.distributions.Distribution:
    return distributions.normal(torch.full((n, *shape), loc), torch.ones(n, *shape))


class Given:
    """As much of a model as a discriminator's turn looks at: q and p, each the same for every example."""

    def __init__(self, q: Any, p: Any = _normal) -> None:
        self.q, self.p = q, p

    def posterior(self, x: Tensor, c: Tensor) -> torch.distributions.Distribution:
        return self.q(len(x))

    def prior_z(self, c: Tensor) -> torch.distributions.Distribution:
        return self.p(len(c))

    def teach(self, loss: vaekit.Loss, steps: int, n: int = 256, lr: float = 1e-3) -> float:
        """Train the discriminator alone; the mean of its loss over the last fifty steps."""
        optimizer = torch.optim.Adam(loss.parameters(), lr=lr)
        x, said = torch.zeros(n, 1), []
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - step / steps)
            optimizer.zero_grad()
            found = loss(self, x, x[:, :0], "discriminator").loss
            found.backward()
            optimizer.step()
            said.append(found.detach())
        return torch.stack(said[-50:]).mean().item()


def _correlated(rho: float) -> Any:
    tril = torch.tensor([[1.0, 0.0], [rho, math.sqrt(1 - rho**2)]])
    return lambda n: distributions.multivariate_normal(torch.zeros(n, 2), tril.expand(n, 2, 2))


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_estimate_is_the_total_correlation_of_a_correlated_gaussian(rho: float) -> None:
    loss = Factor((1,), Space((2,)), 64, hidden=(32, 32))
    model = Given(_correlated(rho))
    model.teach(loss, 600, n=512, lr=5e-3)
    estimate = loss.discriminator(model.q(50_000).sample()).mean().item()
    assert estimate == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.04)


def test_a_permutation_keeps_each_dimension_and_breaks_what_joins_them() -> None:
    z = _correlated(0.9)(4000).sample()
    mixed = permuted(z)
    torch.testing.assert_close(mixed.sort(0).values, z.sort(0).values, rtol=0, atol=0)
    assert abs(torch.corrcoef(mixed.T)[0, 1].item()) < 5 / math.sqrt(4000)
    assert permuted(torch.rand(3, 2, 4, 4)).shape == (3, 32)


def test_a_discriminator_of_latents_learns_what_can_be_learnt() -> None:
    apart, alike = (WAEGAN((1,), Space((2,)), 64, hidden=(32,)) for _ in range(2))
    model = Given(lambda n: _normal(n, loc=4.0))
    assert model.teach(apart, 300, lr=1e-2) < 0.05
    assert (apart.discriminator(_normal(1000).sample()) > 0).float().mean() > 0.98
    assert (apart.discriminator(_normal(1000, loc=4.0).sample()) < 0).float().mean() > 0.98
    assert Given(_normal).teach(alike, 300, lr=1e-2) == pytest.approx(GUESSING, abs=0.02)


def test_the_best_discriminator_gives_the_log_ratio_of_the_densities() -> None:
    loss = WAEGAN((1,), Space((1,)), 64, hidden=(32, 32))
    Given(lambda n: _normal(n, (1,), 1.0), lambda n: _normal(n, (1,))).teach(loss, 500, n=512, lr=5e-3)
    z = torch.linspace(-1, 2, 20)[:, None]
    torch.testing.assert_close(loss.discriminator(z), 0.5 - z[:, 0], rtol=0, atol=0.2)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (6, 4), (5,)])
def test_a_discriminator_of_data_tells_data_from_what_is_made(shape: tuple[int, ...]) -> None:
    model, loss, x = _made(shape)
    x = (x > 0.1).float()
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model, x, x.new_zeros(len(x), 0), "discriminator").loss.backward()
        optimizer.step()
    made = model.sample(200, seed=1)
    new = (torch.rand(200, *shape) > 0.1).float()
    assert (loss.discriminator(new) > 0).float().mean() > 0.9
    assert (loss.discriminator(made) < 0).float().mean() > 0.9


@pytest.mark.parametrize("what", ["reconstructed", "drawn"])
def test_the_decoder_learns_to_pass_for_data(what: str) -> None:
    """The sign that another library has wrong whenever its discriminator is stepped."""
    model, loss, x = _made((1, 8, 8), gamma=0.0, pixels=0.0)
    c = x.new_zeros(len(x), 0)

    def logits() -> float:
        torch.manual_seed(5)
        made = model.reconstruct(x) if what == "reconstructed" else model.sample(200)
        return loss.discriminator(made).mean().item()

    before = logits()
    _descend(loss(model, x, c, "decoder").loss, list(model.decoder.parameters()), 0.1)
    assert logits() > before


def test_the_discriminator_learns_to_see_through_it() -> None:
    model, loss, x = _made((1, 8, 8))

    def gap() -> float:
        return (loss.discriminator(x).mean() - loss.discriminator(model.sample(200, seed=3)).mean()).item()

    before = gap()
    _descend(loss(model, x, x.new_zeros(len(x), 0), "discriminator").loss, list(loss.parameters()), 1e-2)
    assert gap() > before


def test_the_encoder_of_a_vae_gan_is_not_told_what_fools_the_discriminator() -> None:
    model, loss, x = _made((1, 8, 8), gamma=3.0, pixels=0.5)
    c = x.new_zeros(len(x), 0)
    encoder, decoder = (loss(model, x, c, player) for player in ("encoder", "decoder"))
    parts = encoder.parts
    torch.testing.assert_close(encoder.loss, parts["kl"] + parts["features"] + 0.5 * parts["reconstruction"])
    parts = decoder.parts
    torch.testing.assert_close(decoder.loss, 3 * parts["features"] + parts["adversarial"] + 0.5 * parts["reconstruction"])


def test_what_is_the_same_has_the_same_features() -> None:
    _, loss, x = _made((1, 8, 8))
    features = loss._features(x, x)
    assert loss._distance(x, features) == 0
    assert loss._distance(x, loss._features(1 - x, x)) > 0


def test_beyond_the_end_of_a_sequence_the_discriminator_sees_nothing() -> None:
    _, loss, x = _made((6, 4))
    x[:, 4:] = torch.nan
    one, other = torch.rand(2, *x.shape)
    one[:, :4] = other[:, :4]
    assert loss._features(x, x).isfinite().all()
    torch.testing.assert_close(loss._features(one, x), loss._features(other, x))


def test_the_model_of_a_wae_gan_moves_its_latents_towards_the_prior() -> None:
    _assert_moves(WAEGAN, {"weight": 1e5}, 1)


def test_the_model_of_factor_vae_lowers_the_total_correlation() -> None:
    _assert_moves(Factor, {"gamma": 1e5}, -1)


def _assert_moves(part: type[vaekit.Loss], options: dict[str, float], sign: int) -> None:
    """A step of the model changes what the discriminator says of its latents in one direction."""
    model, _, x = _made((1, 8, 8))
    loss = part((1, 8, 8), model.latent.root, 64, **options)
    before = loss.discriminator(model.encode(x)).mean()
    _descend(loss(model, x, x.new_zeros(len(x), 0)).loss, list(model.encoder.parameters()), 1e-7)
    assert (loss.discriminator(model.encode(x)).mean() - before) * sign > 0


def _made(shape: tuple[int, ...], **options: Any) -> tuple[vaekit.VAE, Any, Tensor]:
    """A small model, the loss of a VAE-GAN for it, and data."""
    layers = {"name": "mlp", "hidden": [16]}
    config = vaekit.Config(data_shape=shape, encoder=layers, latent={"name": "gaussian", "features": 2}, decoder=layers)
    model, _ = vaekit.build(config)
    return model, VAEGAN(shape, model.latent.root, 64, **{"width": 8, **options}), torch.rand(64, *shape)


def _descend(loss: Tensor, parameters: list[Any], rate: float) -> None:
    with torch.no_grad():
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p -= rate * gradient


@pytest.mark.parametrize("part", [Factor, WAEGAN])
def test_the_penalty_of_a_latent_is_in_the_loss(part: type[vaekit.Loss]) -> None:
    z = torch.randn(1, 8, 2)
    loss = part((3,), Space((2,)), 64)
    without, terms = (_terms(loss, z, (Site(_normal(8), _normal(8), z),), penalty) for penalty in (None, torch.arange(8.0)))
    torch.testing.assert_close(terms.loss, without.loss + 3.5)
    assert terms.parts == {**without.parts, "penalty": torch.tensor(3.5)}


def test_below_the_root_a_wae_gan_keeps_the_kl() -> None:
    z = torch.randn(1, 8, 2)
    root, below = Site(_normal(8), _normal(8, loc=3.0), z), Site(_normal(8), _normal(8, loc=1.0), z)
    loss = WAEGAN((3,), Space((2,)), 64)
    one, two = _terms(loss, z, (root,)), _terms(loss, z, (root, below))
    torch.testing.assert_close(two.loss - one.loss, torch.tensor(1.0))
    torch.testing.assert_close(one.parts["kl"], torch.tensor(9.0))
    torch.testing.assert_close(two.parts["kl"], torch.tensor(10.0))


def _terms(loss: vaekit.Loss, z: Tensor, sites: tuple[Site, ...], penalty: Tensor | None = None) -> vaekit.Terms:
    """The loss of a model whose pass leaves such a trace."""
    x = torch.zeros(8, 3)
    trace = Trace(x, x[:, :0], Draw(z, sites, penalty), _normal(8, (3,)))

    class Leaves:
        """A model as far as losses look at it."""

        in_nats = vaekit.VAE.in_nats
        latent, likelihood = SimpleNamespace(has_density=True), SimpleNamespace(exact=True)

        def __call__(self, x: Tensor, c: Tensor) -> Trace:
            return trace

    return loss(Leaves(), x, x[:, :0])


def test_what_they_cannot_serve_is_refused() -> None:
    for support, refused in (("sphere", [Factor]), ("simplex", [Factor]), ("codes", [Factor, WAEGAN])):
        for part in refused:
            with pytest.raises(vaekit.ShapeError, match=f"on a space of {support}"):
                part((5,), Space((3,), support, 4), 64)
    WAEGAN((5,), Space((3,), "sphere"), 64)


def test_a_wae_gan_holds_all_posteriors_together_to_the_prior() -> None:
    x = torch.as_tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
    plain, plain_error = _trained(x, 0.0)
    held, error = _trained(x, 2.0)
    assert held < 0.2 * plain
    assert plain_error < error < 0.8 * x.var(0).mean()


def _trained(x: Tensor, weight: float) -> tuple[float, float]:
    """Of a model trained on x: the squared maximum mean discrepancy of z and the prior, with an inverse multiquadric, and the
    squared error of a pixel."""
    torch.manual_seed(0)
    config = vaekit.Config(
        data_shape=(1, 8, 8), latent={"name": "gaussian", "features": 2}, encoder={"name": "mlp", "hidden": [64]}
    )
    model, _ = vaekit.build(config)
    loss = WAEGAN((1, 8, 8), model.latent.root, len(x), weight=weight, hidden=(64, 64))
    batches = list(x[torch.randperm(len(x))].split(128))
    list(vaekit.train(model, loss, batches, epochs=20, device="cpu"))
    with torch.no_grad():
        c = x.new_zeros(len(x), 0)
        z, p = model.posterior(x, c).sample(), model.prior_z(c).sample()
        kernels = [4 / (4 + torch.cdist(a, b) ** 2) for a, b in ((z, z), (p, p), (z, p))]
    error = ((model.reconstruct(x) - x) ** 2).mean()
    return (kernels[0].mean() + kernels[1].mean() - 2 * kernels[2].mean()).item(), error.item()
