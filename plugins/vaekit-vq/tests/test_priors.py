"""Priors over codes are distributions over sequences of them, and learn what sequences there are."""

import itertools
import math
import time

import pytest
import torch
from torch import Tensor
from vaekit_vq import IndependentCodes, Transformer

import vaekit
from vaekit import Space
from vaekit.testing import parametrize_with_checks


@parametrize_with_checks(
    [
        IndependentCodes,
        (IndependentCodes, {"probabilities": "uniform"}),
        (Transformer, {"width": 8, "layers": 1, "heads": 2, "dropout": 0.2}),
    ]
)
def test_conformance(check) -> None:
    check()


@pytest.mark.parametrize("part", [IndependentCodes, Transformer])
@pytest.mark.parametrize("support", ["real", "sphere", "simplex"])
def test_other_latents_are_refused(part: type, support: str) -> None:
    with pytest.raises(vaekit.ShapeError, match="prior over codes"):
        part(Space((3,), support), (1, 8, 8), 0)


def _all(size: int, *shape: int) -> Tensor:
    """Every sequence of codes, (size ** D, *shape)."""
    return torch.tensor(list(itertools.product(range(size), repeat=math.prod(shape)))).reshape(-1, *shape)


def _p(prior: vaekit.Prior, c: Tensor, every: Tensor) -> Tensor:
    """The probability of each sequence for each c, (M, N)."""
    with torch.no_grad():
        p = prior.eval()(c, None).log_prob(every[:, None].expand(-1, len(c), *every.shape[1:])).exp()
    return p.double()


def test_uniform_codes_cost_their_logarithm() -> None:
    prior = IndependentCodes(Space((4, 3), "codes", 7), (1, 8, 8), 0, probabilities="uniform")
    assert not list(prior.parameters())
    codes = torch.randint(7, (5, 4, 3))
    torch.testing.assert_close(prior(torch.zeros(5, 0), None).log_prob(codes), torch.full((5,), -12 * math.log(7)))


def test_learned_codes_become_as_frequent_as_they_are() -> None:
    prior = IndependentCodes(Space((2,), "codes", 4), (5,), 0)
    codes = torch.stack(
        [torch.multinomial(torch.tensor(p), 500, replacement=True) for p in ([0.4, 0.3, 0.2, 0.1], [0.0, 0.5, 0.25, 0.25])], 1
    )
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        (-prior(torch.zeros(500, 0), None).log_prob(codes).mean()).backward()
        optimizer.step()
    wanted = torch.stack([codes[:, i].bincount(minlength=4) / 500 for i in range(2)])
    torch.testing.assert_close(prior.logits.softmax(1), wanted, rtol=0, atol=5e-3)


def _stirred(root: Space, context: int = 0, **options: int) -> Transformer:
    """One whose codes depend on each other a good deal."""
    prior = Transformer(root, (1, 8, 8), context, **{"width": 16, "heads": 2, **options})
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return prior.eval()


@pytest.mark.parametrize(("size", "shape", "context"), [(3, (4,), 0), (2, (2, 3), 2), (3, (2, 1, 2), 1), (5, (1,), 0)])
def test_the_probabilities_of_all_sequences_sum_to_one(size: int, shape: tuple[int, ...], context: int) -> None:
    prior = _stirred(Space(shape, "codes", size), context)
    p = _p(prior, torch.randn(3, context), _all(size, *shape))
    torch.testing.assert_close(p.sum(0), torch.ones(3).double(), rtol=1e-5, atol=0)
    assert p.max() > 2 * p.min()
    assert ((p[:, 0] / p[:, 1] - 1).abs().max() > 0.05) == (context > 0)


def test_a_code_depends_on_those_before_it_and_on_no_other() -> None:
    network = _stirred(Space((6,), "codes", 4), 2).network
    codes, c = torch.randint(4, (1, 6)), torch.randn(1, 2)
    logits = network(codes, c)
    for i in range(6):
        other = codes.clone()
        other[:, i] = (other[:, i] + 1) % 4
        changed = ((network(other, c) - logits).abs().amax(-1) > 1e-5)[0]
        assert changed.tolist() == [j > i for j in range(6)]
    assert ((network(codes, c + 1) - logits).abs().amax(-1) > 1e-5).all()


@pytest.mark.parametrize("context", [0, 2])
def test_it_draws_sequences_as_often_as_it_says(context: int) -> None:
    """Pearson's chi-square of 81 sequences by draws one code at a time."""
    prior, every, n = _stirred(Space((2, 2), "codes", 3), context), _all(3, 2, 2), 20_000
    c = torch.randn(2, context)
    draws = prior(c, None).sample((n,))
    assert draws.shape == (n, 2, 2, 2)
    p = _p(prior, c, every)
    number = (draws.flatten(2) * 3 ** torch.arange(3, -1, -1)).sum(-1)
    for i in range(2):
        wanted = n * p[:, i]
        many = wanted > 5
        seen = number[:, i].bincount(minlength=81).double()
        wanted = torch.cat([wanted[many], wanted[~many].sum()[None]]).clamp(min=1e-9)
        seen = torch.cat([seen[many], seen[~many].sum()[None]])
        chi, free = ((seen - wanted) ** 2 / wanted).sum().item(), len(wanted) - 1
        assert free > 20
        assert chi < free + 5 * math.sqrt(2 * free)


def _markov(n: int, steps: int, moves: Tensor) -> Tensor:
    """Sequences (n, steps) of a chain that starts anywhere."""
    codes = [torch.randint(len(moves), (n,))]
    for _ in range(steps - 1):
        codes.append(torch.multinomial(moves[codes[-1]], 1)[:, 0])
    return torch.stack(codes, 1)


def test_it_learns_a_markov_chain_to_its_entropy() -> None:
    moves = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.5, 0.0, 0.5]])
    starts = torch.full((3,), 1 / 3)
    entropy = math.log(3)
    for _ in range(7):
        entropy += (starts * torch.special.entr(moves).sum(1)).sum().item()
        starts = starts @ moves
    prior = Transformer(Space((8,), "codes", 3), (1, 8, 8), 0, width=32, heads=2, layers=1)
    optimizer = torch.optim.Adam(prior.parameters(), lr=5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        (-prior(torch.zeros(128, 0), None).log_prob(_markov(128, 8, moves)).mean()).backward()
        optimizer.step()
    prior.eval()
    codes = _markov(4000, 8, moves)
    with torch.no_grad():
        nll = -prior(torch.zeros(4000, 0), None).log_prob(codes)
    error = (nll.std() / math.sqrt(4000)).item()
    assert entropy - 5 * error < nll.mean().item() < entropy + 5 * error + 0.1
    drawn = prior(torch.zeros(4000, 0), None).sample()
    pairs = (3 * drawn[:, :-1] + drawn[:, 1:]).flatten().bincount(minlength=9).reshape(3, 3)
    torch.testing.assert_close(pairs / pairs.sum(1, keepdim=True), moves, rtol=0, atol=0.04)


def test_sixty_four_maps_are_drawn_in_no_time() -> None:
    p = Transformer(Space((7, 7), "codes", 512), (1, 28, 28), 0).eval()(torch.zeros(64, 0), None)
    p.sample()
    start = time.process_time()
    assert p.sample().shape == (64, 7, 7)
    assert time.process_time() - start < 1


def test_heads_share_the_width_evenly() -> None:
    with pytest.raises(vaekit.ConfigError, match="no multiple of 3 heads"):
        Transformer(Space((3,), "codes", 4), (5,), 0, width=16, heads=3)


@pytest.mark.parametrize("prior", [{"name": "codes"}, {"name": "transformer", "width": 16, "heads": 2}])
@pytest.mark.parametrize("context", ["none", {"name": "given", "columns": 2}])
def test_it_is_trained_beside_a_model_or_after_it(prior: dict, context: object) -> None:
    """Its gradient is that of the codes' log-probability, and no part of it reaches the rest of the model."""
    if context != "none":
        pytest.importorskip("vaekit_conditional")
        context = {"name": "labels", "classes": 3}
    model, _ = vaekit.build({"data_shape": (1, 4, 4), "latent": {"name": "vq", "codes": 8}, "prior": prior, "context": context})
    c = model.context(None if context == "none" else torch.tensor([0, 1, 2, 0, 1]), 5)
    model(torch.rand(5, 1, 4, 4), c).kl().sum().backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"prior"}
    assert model.sample(3).shape == (3, 1, 4, 4)
