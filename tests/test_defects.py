"""What went wrong in other libraries, tried on every part here that it could go wrong in, and in training."""

import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vaekit
from vaekit import figures, registry
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.evaluation import bound
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions

SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("latent", "categorical"): {"variables": 2, "classes": 3},
    ("latent", "flow"): {"features": 2, "depth": 2, "hidden": [8]},
    ("latent", "fsq"): {"levels": [3, 2], "positions": 1},
    ("latent", "full-gaussian"): {"features": 2},
    ("latent", "gaussian"): {"features": 2},
    ("latent", "grid-gaussian"): {"channels": 1, "height": 2, "width": 1},
    ("latent", "hyperspherical"): {"features": 3},
    ("latent", "joint"): {"features": 2, "classes": 3},
    ("latent", "ladder"): {"features": [2, 2], "hidden": 8},
    ("latent", "poincare"): {"features": 2},
    ("latent", "point"): {"features": 2},
    ("latent", "residual-vq"): {"quantizers": 2, "codes": 4, "width": 2, "positions": 1},
    ("latent", "vq"): {"codes": 8, "width": 2, "positions": 1},
    ("prior", "flow"): {"depth": 2, "hidden": [8]},
    ("prior", "mixture"): {"components": 3},
    ("prior", "transformer"): {"layers": 1, "heads": 1, "width": 8},
    ("prior", "vamp"): {"components": 3},
}
"""Options by which parts are small."""
ALL_X = torch.tensor(list(product((0.0, 1.0), repeat=3))).double()
"""Every example of three binary numbers."""


def _small(kind: str, name: str) -> dict[str, Any]:
    return {"name": name, **SMALL.get((kind, name), {})}


def _model(latent: str, prior: str = "normal", shape: tuple[int, ...] = (3,), **parts: Any) -> vaekit.VAE:
    """A small model in float64 and in no particular state."""
    torch.manual_seed(0)
    named = {kind: _small(kind, name) for kind, name in (("latent", latent), ("prior", prior))}
    small = {"encoder": {"hidden": [8]}, "decoder": {"hidden": [8]}}
    model, _ = vaekit.build(vaekit.Config(data_shape=shape, **{**small, **named, **parts}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.double().eval()


def _context(prior: str) -> dict[str, Any]:
    return {"context": {"name": "labels", "classes": 2}} if prior == "conditional" else {}


def _together(latent: str, prior: str) -> None:
    """Build a model with both, and its prior's distribution."""
    model = _model(latent, prior, **_context(prior))
    model.prior_z(model.context(model.context.sample(2), 2))


def _goes(latent: str, prior: str) -> bool:
    try:
        _together(latent, prior)
    except vaekit.ShapeError:
        return False
    return True


LATENTS = [part.name for part in registry.list("latent")]
with torch.random.fork_rng([]):
    PAIRS = [(z, prior.name) for z in LATENTS for prior in registry.list("prior") if _goes(z, prior.name)]
PRIOR_OF = {latent: prior for latent, prior in reversed(PAIRS) if prior not in ("conditional", "flow", "mixture", "vamp")}
"""Some prior for each latent."""


def _fitted(latent: str, prior: str) -> vaekit.VAE:
    """A model whose posteriors cover what they should, so that importance weights are of use."""
    model = _model(latent, prior, **_context(prior))
    often = torch.cat([ALL_X, ALL_X[[0, 0, 0, 0, 6, 6, 7, 7, 7, 7]]])
    loss = registry.find("loss", "iwae")((3,), model.latent.root, len(often), samples=5)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    model.begin(often[-3:], model.context(model.context.sample(3), 3).double())
    for _ in range(120):
        optimizer.zero_grad()
        loss(model, often, model.context(model.context.sample(len(often)), len(often)).double()).loss.backward()
        optimizer.step()
    return model


REFUSED = [(z, prior.name) for z in LATENTS for prior in registry.list("prior") if (z, prior.name) not in PAIRS]


@pytest.mark.parametrize(("latent", "prior"), REFUSED)
def test_a_prior_that_does_not_fit_a_latent_says_which_does(latent: str, prior: str) -> None:
    with pytest.raises(vaekit.ShapeError) as refused:
        _together(latent, prior)
    named = re.findall(r"[a-z-]+", str(refused.value).partition("prior=")[2])
    assert any((latent, other) in PAIRS for other in named), refused.value


SCORED = [pair for pair in PAIRS if pair[0] != "point"]
OF_PRIOR = {prior: latent for latent, prior in sorted(SCORED, key=lambda pair: pair[0] == "gaussian")}
EACH_ONCE = sorted({*PRIOR_OF.items(), *((latent, prior) for prior, latent in OF_PRIOR.items())} & set(SCORED))
"""Pairs in which every latent that has a density is, and every prior."""


def _with_each_code(model: vaekit.VAE, c: Tensor) -> tuple[Tensor, Tensor]:
    """Every code that there is, (K, *root.shape), and the probability of it together with each x, (K, 8)."""
    root = model.latent.root
    assert root.size is not None
    codes = torch.tensor(list(product(range(root.size), repeat=root.dimensions))).reshape(-1, *root.shape)
    c = c[:1].expand(len(codes), c.shape[1])
    with torch.no_grad():
        log_px = model.px(model.latent.generate(codes, c), c).log_prob(ALL_X[:, None]).T
        return codes, (model.prior_z(c).log_prob(codes)[:, None] + log_px).exp()


@pytest.mark.parametrize(("latent", "prior"), EACH_ONCE)
def test_importance_weights_and_draws_from_the_prior_agree_on_the_probability_of_x(latent: str, prior: str) -> None:
    """What is sampled is scored: a bound above log p(x), a constant left out or a sampler of another prior would show."""
    model, n = _fitted(latent, prior), 6_000
    with torch.no_grad():
        c = model.context(torch.ones(8).long() if model.conditional else None, 8).double()
        weights = model(ALL_X, c, n).log_weight().exp()
        own = c[:1].expand(n, c.shape[1])
        generated = model.latent.generate(model.prior_z(own).sample(), own)
        drawn = model.px(generated, own).log_prob(ALL_X[:, None]).exp().T
    if model.latent.root.support == "codes":
        codes, joint = _with_each_code(model, c)
        torch.testing.assert_close(joint.sum(), torch.ones(()).double())  # of all codes with all x
        given = (codes == model.posterior(ALL_X, c).sample()[:, None]).flatten(2).all(2)
        torch.testing.assert_close(weights, joint.T[given].expand(n, 8))  # of the one code that x is given
        scored, error = joint.sum(0), (drawn.var(0) / n).sqrt()
    else:
        scored, error = weights.mean(0), ((weights.var(0) + drawn.var(0)) / n).sqrt()
    gap = scored - drawn.mean(0)
    assert (gap.abs() <= 5 * error).all(), (gap / error).tolist()
    assert (error < 0.08 * drawn.mean(0)).all(), (error / drawn.mean(0)).tolist()


@pytest.mark.parametrize("k", [1, 50, 150, 250])
def test_the_importance_weighted_bound_is_of_as_many_draws_as_asked_for(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of 60, of which 50, 150 and 250 are no multiples."""
    model = _model("gaussian")
    monkeypatch.setattr("vaekit.model._ELEMENTS_AT_ONCE", 60 * ALL_X.numel())
    weights: list[Tensor] = []
    model.register_forward_hook(lambda module, given, trace: weights.append(trace.log_weight()))
    found = model.log_likelihood(ALL_X, k=k)
    drawn = torch.cat(weights)
    assert drawn.shape == (k, 8)
    torch.testing.assert_close(found, drawn.exp().mean(0).log())
    assert not found.requires_grad


@pytest.mark.parametrize("latent", LATENTS)
def test_the_code_is_in_the_middle_of_what_the_decoder_sees_in_training(latent: str) -> None:
    """Neither flow nor quantizer nor normalisation is left out of it."""
    model = _model(latent, PRIOR_OF[latent])
    with torch.no_grad():
        draws = model(ALL_X, ALL_X[:, :0], 500).draw.z.flatten(2)
        codes = model.encode(ALL_X).flatten(1)
    from_code = (draws - codes).norm(dim=2).mean(0)
    from_each_other = (draws - draws.roll(1, 0)).norm(dim=2).mean(0)
    assert (from_code <= 0.9 * from_each_other + 1e-9).all()


@pytest.mark.parametrize("latent", LATENTS)
def test_what_people_see_of_an_example_has_no_chance_in_it_and_no_graph(latent: str) -> None:
    model = _model(latent, PRIOR_OF[latent]).train()
    ways: list[Callable[[], Tensor]] = [lambda: model.encode(ALL_X), lambda: model.reconstruct(ALL_X)]
    if model.latent.root.support != "codes":
        ways.append(lambda: model.interpolate(ALL_X[1], ALL_X[6]))
    for way in ways:
        assert torch.equal(way(), way())
        assert not way().requires_grad
    torch.testing.assert_close(model.reconstruct(ALL_X), model.decode(model.encode(ALL_X)))


def test_samples_and_previews_are_drawn_from_the_models_own_prior() -> None:
    model = _model("gaussian", "mixture", shape=(1, 4, 4))
    with torch.no_grad():
        model.prior.loc.fill_(-20.0)
        model.prior.log_scale.fill_(-9.0)
    there = model.decode(torch.full((100, 2), -20.0).double())
    torch.testing.assert_close(model.sample(100, seed=0), there, atol=0.01, rtol=0)
    assert (there[0] - model.decode(torch.zeros(1, 2).double())[0]).abs().max() > 0.3
    shown, wanted = figures.samples(model), figures.grid(there, 10)
    assert abs(shown.astype(int) - wanted.astype(int)).max() <= 3


@pytest.mark.parametrize("prior", sorted({prior for _, prior in PAIRS}))
def test_a_prior_that_begins_with_examples_moves_nothing_else(prior: str) -> None:
    """Codebooks and running statistics move in training alone."""
    latent = next(z for z, of_it in PAIRS if of_it == prior)
    encoder = {"name": "conv", "width": 4, "norm": "batch"}
    model = _model(latent, prior, shape=(1, 8, 8), encoder=encoder, **_context(prior)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    n = max(1, model.prior.begins_with)
    model.begin(torch.rand(n, 1, 8, 8).double(), model.context(model.context.sample(n), n).double())
    moved = {name.partition(".")[0] for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert moved == ({"prior"} if model.prior.begins_with else set())


def _loss_of_codes(name: str) -> tuple[vaekit.VAE, vaekit.Loss] | None:
    model, x = _model("vq", "codes", shape=(1, 8, 8)), torch.zeros(2, 1, 8, 8).double()
    try:
        loss = registry.find("loss", name)((1, 8, 8), model.latent.root, 64).double().eval()
        loss(model, x, x[:, :0, 0, 0], next(iter(loss.players(model))))
    except (vaekit.ShapeError, vaekit.ConfigError):
        return None
    return model, loss


OF_CODES = [part.name for part in registry.list("loss") if _loss_of_codes(part.name)]


@pytest.mark.parametrize("name", OF_CODES)
def test_the_loss_of_a_codebook_does_not_grow_with_the_batch(name: str) -> None:
    made = _loss_of_codes(name)
    assert made is not None
    model, loss = made
    x = torch.rand(6, 1, 8, 8).double().round()
    of_latent = {id(p) for p in model.latent.parameters()}
    players = loss.players(model)
    train_it = {player for player, own in players.items() if of_latent & {id(p) for p in own}}
    assert len(train_it) == (name != "prior-nll")
    for player in players:
        found = {}
        for times in (1, 2):
            of_all = x.repeat(times, 1, 1, 1)
            terms = [loss(model, of_all, of_all[:, :0, 0, 0], player) for _ in range(30)]
            found[times] = torch.stack([t.loss.detach() for t in terms])
            if player in train_it:
                assert all(t.parts["penalty"] > 0 for t in terms)
        error = ((found[1].var() + found[2].var()) / 30).sqrt()
        assert (found[1].mean() - found[2].mean()).abs() <= 5 * error + 1e-9 * found[1].mean().abs()


# Training


def _digits(n: int = 90) -> Examples:
    generator = torch.Generator().manual_seed(0)
    return Examples((torch.rand(n, 1, 4, 4, generator=generator) > 0.6).to(torch.uint8) * 255)


def _batches(size: int = 32, n: int = 90) -> Batches:
    return Batches(_digits(n), size)


def _built(**parts: Any) -> tuple[vaekit.VAE, vaekit.Loss]:
    torch.manual_seed(0)
    small = {"encoder": {"hidden": [16]}, "latent": {"features": 2}, "decoder": {"hidden": [16]}}
    return vaekit.build(vaekit.Config(data_shape=(1, 4, 4), **{**small, **parts}))


def _weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_means_are_over_examples_and_not_over_batches() -> None:
    model, loss = _built()
    whole, ragged = (bound(model, _batches(size))["kl"] for size in (90, 44))
    assert ragged == pytest.approx(whole, rel=1e-5)
    halves = [bound(model, _batches(44, n))["kl"] for n in (44, 88)]
    last = (90 * whole - 88 * halves[1]) / 2
    assert abs((2 * halves[1] + last) / 3 - whole) > 1e-3 * whole  # which a mean over the three batches would be
    (report,) = vaekit.train(model, loss, _batches(44), epochs=1, lr=1e-20, precision="fp32")
    assert report.terms["kl"] == pytest.approx(whole, rel=1e-5)


def test_pieces_of_a_batch_give_the_step_of_the_whole() -> None:
    found = []
    for accumulate in (1, 4):
        model, loss = _built(latent={"name": "point", "features": 3}, loss={"name": "rae", "penalty": "none"})
        list(vaekit.train(model.double(), loss.double(), _batches(), epochs=3, lr=1e-2, accumulate=accumulate))
        found.append(_weights(model))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


class Annealed(vaekit.Loss):
    """An ELBO whose KL counts ever more, and a critic of its own: what each player sees of the count is noted."""

    name = "annealed"
    steps: Tensor

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.critic = nn.Linear(root.dimensions, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.seen: list[tuple[str, bool, int]] = []
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters()), "critic": list(self.critic.parameters())}

    def stepped(self) -> None:
        self.steps += 1

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        self.seen.append((player, self.training, int(self.steps)))
        trace = model(x, c)
        score = self.critic(trace.draw.z[0]).mean()
        loss = score - trace.log_px().mean() + self.steps / 10 * trace.kl().mean()
        return vaekit.Terms(loss if player == "model" else -score, {"score": score.detach()})


def test_what_anneals_counts_each_step_once_whatever_pieces_and_players_there_are() -> None:
    model, _ = _built()
    loss = Annealed((1, 4, 4), model.latent.root, 90)
    list(vaekit.train(model, loss, _batches(), validation=_batches(), epochs=2, accumulate=4, compile="off"))
    assert loss.steps == 6
    trained = [(player, step) for player, training, step in loss.seen if training]
    assert trained == [(player, step) for step in range(6) for player in ("model", "critic") for _ in range(4)]
    assert {step for _, training, step in loss.seen if not training} == {3, 6}


@pytest.mark.parametrize("options", [{"warmup": 8}, {"warmup": 2, "period": 5}, {"capacity": 4.0, "capacity_steps": 7}])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_schedule_goes_on_where_it_stood(options: dict[str, Any], accumulate: int) -> None:
    def trainer() -> Trainer:
        return Trainer(*_built(loss=options), TrainingOptions(epochs=3, lr=1e-2, accumulate=accumulate))

    whole, first, second = trainer(), trainer(), trainer()
    list(whole.run(_batches()))
    first.after_step = lambda: first.stop() if first.steps == 4 else None
    list(first.run(_batches()))
    tensors, progress = first.state()
    second.settle(_batches())
    second.load_state({name: tensor.clone() for name, tensor in tensors.items()}, progress)
    assert second.step.loss.steps == 4
    list(second.run(_batches()))
    assert whole.step.loss.steps == second.step.loss.steps == 9
    assert torch.equal(_weights(whole.step), _weights(second.step))


def test_settling_how_to_compute_moves_neither_a_codebook_nor_running_statistics() -> None:
    model, loss = _built(encoder={"name": "conv", "width": 4, "norm": "batch"}, latent=_small("latent", "vq"), prior="codes")
    trainer = Trainer(model, loss, TrainingOptions(epochs=1000, compile="off"))
    before = {name: tensor.clone() for name, tensor in trainer.step.state_dict().items()}
    trainer.settle(_batches())
    for name, tensor in trainer.step.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert any("running_mean" in name for name in before)


def test_what_fails_in_validation_is_told_and_not_tried_again() -> None:
    model, loss = _built()
    forward, calls = loss.forward, []

    def failing(*given: Any) -> vaekit.Terms:
        calls.append(loss.training)
        if not loss.training:
            raise RuntimeError("out of memory")
        return forward(*given)

    loss.forward = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory"):
        list(vaekit.train(model, loss, _batches(90), validation=_batches(90), epochs=2, compile="off"))
    assert calls == [True, False]


def test_a_loss_of_any_size_has_a_best_model_and_a_run_leaves_the_environment_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    run = vaekit.fit(
        torch.rand(80, 6),
        likelihood={"name": "gaussian", "variance": "fixed", "std": 1e-6},
        encoder={"hidden": [8]},
        decoder={"hidden": [8]},
        epochs=1,
        lr=1e-6,
        output=tmp_path,
        progress=False,
    )
    assert min(row["loss"] for row in run.metrics if "loss" in row) > 1e10
    assert run.model.sample(2).shape == (2, 6)
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["elbo", "iwae", "miwae", "ciwae", "piwae", "dreg", "info", "wae-mmd", "wae-gan"])
def test_nothing_computed_with_a_point_is_called_a_bound(name: str) -> None:
    model, loss = vaekit.build(vaekit.Config(data_shape=(6,), latent={"name": "point", "features": 2}, loss=name))
    x = torch.rand(8, 6).round()
    told = [loss(model, x, x[:, :0], player) for player in loss.players(model)]
    assert all(terms.loss.isfinite() for terms in told)
    names = {part for terms in told for part in terms.parts}
    assert "reconstruction" in names
    assert not names & {"nelbo", "kl", "kl_mc", "iwae", "miwae"}
