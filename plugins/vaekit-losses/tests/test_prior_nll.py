"""The prior alone learns, and what it learns is the aggregated posterior."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from vaekit_losses import PriorNLL

import vaekit
from vaekit import distributions


class Fitted(vaekit.Prior):
    """A normal prior that has something to learn."""

    name = "fitted"

    def __init__(self, root: vaekit.Space, data_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.loc, self.log_scale = nn.Parameter(torch.zeros(root.shape)), nn.Parameter(torch.zeros(root.shape))
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: vaekit.Posterior) -> Distribution:
        shape = (len(c), *self.out_shape)
        return distributions.normal(self.loc.expand(shape), self.log_scale.exp().expand(shape))


class Made(Fitted):
    """A prior that is a posterior of learned data."""

    name = "made"

    def __init__(self, root: vaekit.Space, data_shape: vaekit.Shape, context: int) -> None:
        nn.Module.__init__(self)
        self.x = nn.Parameter(torch.rand(1, *data_shape))
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: vaekit.Posterior) -> Distribution:
        base = posterior(self.x, c[:1]).base_dist
        return distributions.normal(base.loc.expand(len(c), -1), base.scale.expand(len(c), -1))


def _model(prior: type[vaekit.Prior] | None = Fitted) -> vaekit.VAE:
    torch.manual_seed(3)
    model, _ = vaekit.build(vaekit.Config(data_shape=(6,), likelihood="bernoulli", latent={"name": "gaussian", "features": 2}))
    with torch.no_grad():
        model.latent.head.weight *= 4
    if prior:
        model.prior = prior(model.latent.root, (6,), 0)
    return model


def _loss(model: vaekit.VAE, samples: int = 1) -> PriorNLL:
    return PriorNLL((6,), model.latent.root, 64, samples=samples)


def test_it_is_the_cross_entropy_of_posterior_and_prior() -> None:
    model, x = _model(), torch.rand(50, 6)
    with torch.no_grad():
        model.prior.loc += 0.5
        model.prior.log_scale -= 0.3
    found = _loss(model, samples=2000)(model, x, x[:, :0])
    q, p = model.posterior(x, x[:, :0]), model.prior_z(x[:, :0])
    wanted = distributions.kl(q, p).mean() + q.entropy().mean()
    torch.testing.assert_close(found.loss, wanted, rtol=0, atol=0.05)
    assert found.parts == {"prior_nll": found.loss.detach()}


@pytest.mark.parametrize("prior", [Fitted, Made])
def test_nothing_but_the_prior_learns_and_the_decoder_does_not_run(prior: type[vaekit.Prior]) -> None:
    model, x = _model(prior), torch.rand(16, 6)
    model.decoder.forward = None
    loss = _loss(model)
    assert list(loss.players(model)) == ["prior"]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in model.prior.parameters():
        parameter.requires_grad_(True)
    loss(model, x, x[:, :0]).loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.norm() > 0}
    assert reached == {f"prior.{name}" for name, _ in model.prior.named_parameters()}


def test_the_prior_becomes_the_aggregated_posterior_and_the_rest_stays() -> None:
    model, x = _model(), torch.rand(256, 6).round()
    before = {name: p.clone() for name, p in model.named_parameters()}
    old = -model(x, x[:, :0]).kl().mean()
    list(vaekit.train(model, _loss(model, samples=8), [x], epochs=150, lr=0.05))
    moved = {name for name, p in model.named_parameters() if not p.equal(before[name])}
    assert moved == {"prior.loc", "prior.log_scale"}
    draws = model.posterior(x, x[:, :0]).sample((200,)).flatten(0, 1)
    torch.testing.assert_close(model.prior.loc.detach(), draws.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(model.prior.log_scale.detach().exp(), draws.std(0), atol=0.05, rtol=0)
    assert -model(x, x[:, :0]).kl().mean() > old + 0.01


def test_a_prior_with_nothing_to_learn_is_refused() -> None:
    model = _model(prior=None)
    with pytest.raises(vaekit.ConfigError, match="prior 'normal' has nothing to train"):
        _loss(model).players(model)
    with pytest.raises(vaekit.ConfigError, match="nothing to train"):
        next(vaekit.train(model, _loss(model), [torch.rand(4, 6)]))
