"""Players own what should train, and none moves what another owns."""

import pytest
import torch
from torch import Tensor, nn
from vaekit_adversarial import VAEGAN, WAEGAN, Factor

import vaekit
from vaekit import distributions

PLAYERS: dict[type[vaekit.Loss], tuple[str, ...]] = {
    Factor: ("model", "discriminator"),
    WAEGAN: ("model", "prior", "discriminator"),
    VAEGAN: ("encoder", "decoder", "discriminator"),
}
TURNS = [(loss, player) for loss, players in PLAYERS.items() for player in players]


class Learned(vaekit.Prior):
    """A normal prior with a mean to learn."""

    name = "learned"

    def __init__(self, root: vaekit.Space, data_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(root.shape))
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: vaekit.Posterior) -> torch.distributions.Distribution:
        loc = self.loc.expand(len(c), *self.out_shape)
        return distributions.normal(loc, torch.ones_like(loc))


def _step(part: type[vaekit.Loss], seed: int = 0, **options: object) -> tuple[vaekit.VAE, vaekit.Loss, Tensor]:
    """A small model of 8 by 8 images with a prior that learns, a loss, and images."""
    torch.manual_seed(seed)
    config = vaekit.Config(
        data_shape=(1, 8, 8),
        encoder={"name": "mlp", "hidden": [16]},
        latent={"name": "gaussian", "features": 3},
        decoder={"name": "mlp", "hidden": [16]},
    )
    model, _ = vaekit.build(config)
    model.prior = Learned(model.latent.root, (1, 8, 8), 0)
    return model, part((1, 8, 8), model.latent.root, 64, **options), (torch.rand(32, 1, 8, 8) > 0.7).float()


def _named(model: vaekit.VAE, loss: vaekit.Loss) -> dict[str, nn.Parameter]:
    return {**dict(model.named_parameters()), **{f"loss.{name}": p for name, p in loss.named_parameters()}}


@pytest.mark.parametrize("part", PLAYERS, ids=lambda part: part.name)
def test_every_parameter_has_one_owner(part: type[vaekit.Loss]) -> None:
    model, loss, _ = _step(part)
    players = loss.players(model)
    assert tuple(players) == PLAYERS[part]
    owned = [id(p) for own in players.values() for p in own]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in _named(model, loss).values()}
    assert {id(p) for p in players["discriminator"]} == {id(p) for p in loss.parameters()}


def test_the_decoder_of_a_vae_gan_is_decoder_and_likelihood() -> None:
    model, loss, _ = _step(VAEGAN)
    model.likelihood.register_parameter("scale", nn.Parameter(torch.zeros(())))
    wanted = {id(p) for module in (model.decoder, model.likelihood) for p in module.parameters()}
    assert {id(p) for p in loss.players(model)["decoder"]} == wanted


def test_what_is_frozen_has_no_owner() -> None:
    for part in PLAYERS:
        model, loss, _ = _step(part)
        model.encoder.requires_grad_(False)
        frozen = {id(p) for p in model.encoder.parameters()}
        assert not frozen & {id(p) for own in loss.players(model).values() for p in own}


def test_a_prior_that_learns_nothing_has_no_turn() -> None:
    model, _ = vaekit.build(vaekit.Config(data_shape=(5,)))
    assert list(WAEGAN((5,), model.latent.root, 64).players(model)) == ["model", "discriminator"]


@pytest.mark.parametrize(("part", "player"), TURNS, ids=lambda v: getattr(v, "name", v))
def test_a_player_alone_moves_its_own_parameters_and_no_others(part: type[vaekit.Loss], player: str) -> None:
    model, loss, x = _step(part)
    own = {id(p) for p in loss.players(model)[player]}
    before = {name: p.detach().clone() for name, p in _named(model, loss).items()}
    _train(model, loss, x, [player], epochs=3)
    for name, p in _named(model, loss).items():
        assert torch.equal(p, before[name]) == (id(p) not in own), name


@pytest.mark.parametrize("part", PLAYERS, ids=lambda part: part.name)
def test_later_players_change_nothing_of_the_step_of_those_before(part: type[vaekit.Loss]) -> None:
    """The leak of two other libraries: a gradient left by the discriminator, which the next step of the decoder then takes."""
    for until in range(1, len(PLAYERS[part])):
        some = PLAYERS[part][:until]
        found = []
        for players in (PLAYERS[part], some):
            model, loss, x = _step(part)
            _train(model, loss, x, players, epochs=1)
            found.append([p.detach().clone() for player in some for p in loss.players(model)[player]])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("part", "player"), TURNS, ids=lambda v: getattr(v, "name", v))
def test_a_turn_leaves_the_gradients_of_others_as_they_were(part: type[vaekit.Loss], player: str) -> None:
    model, loss, x = _step(part)
    own = {id(p) for p in loss.players(model)[player]}
    for p in _named(model, loss).values():
        p.grad = torch.full_like(p, 7.0)
        p.requires_grad_(id(p) in own)
    loss(model, x, x.new_zeros(len(x), 0), player).loss.backward()
    for name, p in _named(model, loss).items():
        assert p.grad is not None
        assert bool((p.grad == 7).all()) == (id(p) not in own), name


@pytest.mark.parametrize("part", PLAYERS, ids=lambda part: part.name)
def test_the_discriminators_loss_reaches_nothing_else_even_where_all_want_gradients(part: type[vaekit.Loss]) -> None:
    model, loss, x = _step(part)
    loss(model, x, x.new_zeros(len(x), 0), "discriminator").loss.backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in loss.parameters())


def _train(model: vaekit.VAE, loss: vaekit.Loss, x: Tensor, players: object, epochs: int) -> None:
    """Train with some of the players only."""
    every = loss.players(model)

    def chosen(model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {name: own for name, own in every.items() if name in players}

    loss.players = chosen
    list(vaekit.train(model, loss, [x], epochs=epochs, lr=1e-2, device="cpu"))
    del loss.players
