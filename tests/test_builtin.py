"""The built-in parts and data sets keep every promise of their interfaces, and each formula is held against an oracle."""

import math

import pytest
import torch
from torch import nn

import vaekit
from vaekit import registry
from vaekit.testing import parametrize_with_checks

VARIANTS = [
    *[part for part in registry.list() if part.__module__.startswith("vaekit.")],
    (registry.find("encoder", "mlp"), {"hidden": ()}),
    (registry.find("latent", "gaussian"), {"scale": "softplus"}),
    (registry.find("loss", "elbo"), {"samples": 3, "beta": 0.1}),
    registry.dataset("digits"),
    registry.dataset("sprites"),
]


@parametrize_with_checks(VARIANTS)
def test_conformance(check) -> None:
    check()


def _objective(normalize: str, beta: float, variance: float) -> tuple[torch.Tensor, dict[str, torch.Tensor], vaekit.VAE]:
    torch.manual_seed(0)
    model, loss = vaekit.build(
        vaekit.Config(
            data_shape=(1, 6, 5),
            latent={"features": 4},
            likelihood={"name": "gaussian", "variance": "fixed", "std": math.sqrt(variance)},
            loss={"normalize": normalize, "beta": beta},
        )
    )
    x = torch.rand(8, 1, 6, 5)
    torch.manual_seed(1)
    terms = loss(model, x, torch.zeros(8, 0))
    return terms.loss, terms.parts, model


def test_normalising_by_dims_is_the_elbo_of_another_variance() -> None:
    """SSE/D + beta KL/Z is, up to the scale 1/D and a constant, the negative ELBO at variance beta D / 2Z."""
    d, z, beta = 30, 4, 0.1
    scaled, parts, model = _objective("dims", beta, 0.5)
    variance = beta * d / (2 * z)
    true, true_parts, twin = _objective("nats", 1.0, variance)
    constant = 0.5 * d * math.log(2 * math.pi * variance)
    constant_of_half = 0.5 * d * math.log(math.pi) / d
    torch.testing.assert_close(scaled - constant_of_half, (true - constant) * 2 * variance / d)
    scaled.backward()
    true.backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad * 2 * variance / d, rtol=1e-4, atol=1e-7)
    assert parts["kl"] == true_parts["kl"]


def test_normalising_scales_the_loss_and_never_the_parts() -> None:
    dims, nats = _objective("dims", 2.0, 1.0), _objective("nats", 2.0, 1.0)
    assert dims[1] == nats[1]
    torch.testing.assert_close(nats[0].detach(), nats[1]["reconstruction"] + 2 * nats[1]["kl"])
    torch.testing.assert_close(dims[0].detach(), dims[1]["reconstruction"] / 30 + 2 * dims[1]["kl"] / 4)
    torch.testing.assert_close(nats[1]["nelbo"], nats[1]["reconstruction"] + nats[1]["kl"])


@pytest.mark.parametrize("scale", ["exp", "softplus"])
def test_the_scale_of_the_gaussian_latent(scale: str, make) -> None:
    model = make(latent={"features": 2, "scale": scale})
    latent = model.latent
    nn.init.zeros_(latent.head.weight)
    with torch.no_grad():
        latent.head.bias.copy_(torch.tensor([1.0, 2.0, -3.0, 4.0]))
    q = latent.posterior(torch.zeros(1, 8), torch.zeros(1, 0))
    s = torch.tensor([[-3.0, 4.0]])
    want = (s / 2).exp() if scale == "exp" else (1 + s.exp()).log() + 1e-6
    torch.testing.assert_close(q.stddev, want)
    torch.testing.assert_close(q.mean, torch.tensor([[1.0, 2.0]]))
    with torch.no_grad():
        latent.head.bias.fill_(-1e4)
    assert torch.isfinite(latent.posterior(torch.zeros(1, 8), torch.zeros(1, 0)).log_prob(torch.zeros(1, 2))).all()


def test_several_samples_average(make) -> None:
    model, loss = vaekit.build(vaekit.Config(data_shape=(5,), loss={"samples": 64}))
    x = torch.rand(4, 5).round()
    torch.manual_seed(0)
    trace = model(x, torch.zeros(4, 0), 64)
    torch.manual_seed(0)
    torch.testing.assert_close(loss(model, x, torch.zeros(4, 0)).loss, -trace.elbo().mean())
