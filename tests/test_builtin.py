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
    (registry.find("loss", "elbo"), {"warmup": 10, "period": 20, "free_bits": 0.5}),
    (registry.find("loss", "elbo"), {"capacity": 5.0, "capacity_steps": 10}),
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


def _elbo(**options) -> tuple[vaekit.Loss, vaekit.VAE]:
    torch.manual_seed(0)
    model, loss = vaekit.build(vaekit.Config(data_shape=(5,), latent={"features": 3}, loss=options))
    return loss, model


def _weight_of_kl(loss: vaekit.Loss, model: vaekit.VAE) -> float:
    """What the KL is multiplied by in the loss at this step."""
    torch.manual_seed(1)
    terms = loss(model, torch.full((4, 5), 0.5), torch.zeros(4, 0))
    return ((terms.loss - terms.parts["reconstruction"]) / terms.parts["kl"]).item()


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"beta": 2.0, "warmup": 4}, [0, 0.5, 1, 1.5, 2, 2, 2]),
        ({"beta": 2.0, "warmup": 2, "period": 3}, [0, 1, 2, 0, 1, 2, 0]),
        ({"beta": 2.0}, [2, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_the_weight_of_the_kl_rises(options, weights) -> None:
    loss, model = _elbo(**options)
    for weight in weights:
        assert _weight_of_kl(loss, model) == pytest.approx(weight, abs=1e-4)
        assert _weight_of_kl(loss.eval(), model) == pytest.approx(2.0, abs=1e-4)
        loss.train().stepped()


def test_free_bits_are_of_each_dimension() -> None:
    loss, model = _elbo(free_bits=0.3, beta=1.0)
    x, c = torch.rand(4, 5).round(), torch.zeros(4, 0)
    with torch.no_grad():
        model.latent.head.bias[:3] = torch.tensor([2.0, 0.1, 0.0])
    torch.manual_seed(1)
    terms = loss(model, x, c)
    torch.manual_seed(1)
    trace = model(x, c)
    dims = trace.draw.sites[0].kl_dims().mean(0)
    assert (dims > 0.3).tolist() == [True, False, False]
    wanted = dims[0] + 2 * 0.3 - trace.log_px().mean()
    torch.testing.assert_close(terms.loss, wanted)
    torch.testing.assert_close(terms.parts["kl"], dims.sum().detach())
    bias = model.latent.head.bias
    torch.testing.assert_close(*(torch.autograd.grad(of, bias)[0] for of in (terms.loss, wanted)))


def test_the_kl_is_drawn_to_a_capacity_that_rises() -> None:
    loss, model = _elbo(capacity=8.0, capacity_steps=4, beta=3.0)
    for step in range(6):
        torch.manual_seed(1)
        terms = loss(model, torch.ones(4, 5), torch.zeros(4, 0))
        wanted = 3 * (terms.parts["kl"] - 8 * min(step / 4, 1)).abs() + terms.parts["reconstruction"]
        torch.testing.assert_close(terms.loss.detach(), wanted)
        loss.stepped()


def test_validation_holds_the_kl_to_the_whole_capacity_from_the_first_step() -> None:
    loss, model = _elbo(capacity=8.0, capacity_steps=4, beta=3.0)
    terms = loss.eval()(model, torch.ones(4, 5), torch.zeros(4, 0))
    wanted = 3 * (terms.parts["kl"] - 8).abs() + terms.parts["reconstruction"]
    torch.testing.assert_close(terms.loss.detach(), wanted)


@pytest.mark.parametrize(
    "options",
    [{"warmup": 4, "period": 3}, {"free_bits": 1.0, "capacity": 1.0}, {"period": 3}, {"capacity_steps": 3}],
)
def test_schedules_that_contradict_each_other(options) -> None:
    with pytest.raises(vaekit.ConfigError, match="loss 'elbo': "):
        _elbo(**options)


def test_a_schedule_counts_optimizer_steps_not_pieces_of_batches() -> None:
    loss, model = _elbo(warmup=100)
    list(vaekit.train(model, loss, [torch.rand(8, 5).round()] * 3, epochs=2, accumulate=4, device="cpu"))
    assert loss.steps == 6
