"""Latents of codes keep every promise of their interface, and learn their codebooks as the papers say."""

import itertools
from math import prod

import pytest
import torch
from torch import Tensor
from vaekit_vq import FSQ, VQ, IndependentCodes, ResidualVQ
from vaekit_vq.codebook import Codebook

import vaekit
from vaekit.testing import parametrize_with_checks

SMALL = {"codes": 16, "width": 4, "positions": 3}
MAP = (5, 3, 2)


@parametrize_with_checks(
    [
        (VQ, SMALL),
        (VQ, {**SMALL, "codebook": "gradient", "revive": 0.0}),
        (ResidualVQ, {**SMALL, "quantizers": 2}),
        FSQ,
    ]
)
def test_conformance(check) -> None:
    check()


def _drawn(latent: vaekit.Latent, h: Tensor, c: Tensor) -> vaekit.Draw:
    prior = IndependentCodes(latent.root, (1,), 0).to(h.dtype)
    return latent(h, c, prior(c, None), 1)


def _inputs(n: int, *shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(n, *shape).double(), torch.zeros(n, 0).double()


LATENTS = [
    (VQ, SMALL),
    (VQ, {**SMALL, "codebook": "gradient"}),
    (ResidualVQ, {**SMALL, "quantizers": 3}),
    (FSQ, {"levels": (4, 3), "positions": 3}),
]


@pytest.mark.parametrize(("part", "options"), LATENTS, ids=str)
def test_a_map_keeps_its_places_and_other_features_get_as_many_as_asked(part: type, options: dict) -> None:
    on_map, on_vector = part(MAP, 0, **options), part((7,), 0, **options)
    width = len(options.get("levels", range(4)))
    assert on_map.out_shape == (width, 3, 2)
    assert on_map.root.shape[-2:] == (3, 2)
    assert on_vector.out_shape == (3 * width,)
    assert on_vector.root.shape[-1] == 3
    h = torch.randn(1, *MAP)
    moved = h.clone()
    moved[:, :, 2, 1] += 10 * torch.randn(5)
    changed = (on_map.eval().code(h, h[:, :0, 0, 0]) != on_map.code(moved, h[:, :0, 0, 0])).any(1)[0]
    assert changed.nonzero().tolist() == [[2, 1]]


@pytest.mark.parametrize(("part", "options"), LATENTS, ids=str)
def test_the_gradient_of_the_vectors_goes_to_the_encodings(part: type, options: dict) -> None:
    latent = part((7,), 0, **options).double().eval()
    seen = {}
    latent.head.register_forward_hook(lambda module, inputs, output: seen.update(e=output) or output.retain_grad())
    h, c = _inputs(6, 7)
    z = _drawn(latent, h, c).z[0]
    at = z.detach().requires_grad_()
    (at**3).sin().sum().backward()
    (z**3).sin().sum().backward()
    wanted = at.grad
    if part is FSQ:
        wanted = wanted * torch.autograd.functional.jacobian(
            lambda e: (latent._scaled(latent._bounded(e))).sum((0, 1)), seen["e"].detach().unflatten(1, (3, 2))
        ).diagonal(dim1=0, dim2=-1).flatten(1)
    torch.testing.assert_close(seen["e"].grad, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
@pytest.mark.parametrize("part", [VQ, ResidualVQ])
def test_the_penalty_is_of_each_example_whatever_the_batch(part: type, codebook: str) -> None:
    latent = part(MAP, 0, codes=8, width=4, codebook=codebook).double().eval()
    h, c = _inputs(6, *MAP)
    once, twice = (_drawn(latent, h.repeat(k, 1, 1, 1), c.repeat(k, 1)).penalty for k in (1, 2))
    assert once.shape == (6,)
    torch.testing.assert_close(twice, once.repeat(2))
    torch.testing.assert_close(_drawn(latent, h[:1], c[:1]).penalty, once[:1])
    if part is VQ:
        e = latent.head(h).movedim(1, -1)
        square = (e - latent.vectors(latent.nearest(e))).square().sum((1, 2, 3))
        torch.testing.assert_close(once, (0.25 if codebook == "ema" else 1.25) * square)


def test_codes_are_those_of_the_nearest_vectors() -> None:
    book = Codebook(50, 3, 0.25, "ema", 0.99, 0.0)
    e = torch.randn(7, 4, 3)
    assert (book.nearest(e) == torch.cdist(e, book.vectors).argmin(-1)).all()


def test_a_codebook_with_a_gradient_is_drawn_to_its_encodings_and_they_to_it() -> None:
    book = Codebook(5, 3, 0.25, "gradient", 0.9, 0.0).double().eval()
    e = torch.randn(20, 3).double().requires_grad_()
    codes, vectors, penalty = book(e)
    penalty.sum().backward()
    gap = (e - vectors).detach()
    torch.testing.assert_close(e.grad, 0.5 * gap)
    torch.testing.assert_close(book.vectors.grad, torch.zeros(5, 3).double().index_add_(0, codes, -2 * gap))


def _begun(book: Codebook, n: int = 64) -> Codebook:
    """One that has taken its first step of training."""
    book.double()(torch.randn(n, book.vectors.shape[1]).double().requires_grad_())
    return book


def test_moving_means_are_those_of_the_paper() -> None:
    """Equations 6 to 8 of its appendix: counts N, sums m, and e = m / N."""
    book = _begun(Codebook(6, 3, 0.25, "ema", 0.8, 0.0))
    n, m = book.counts.clone(), book.counts[:, None] * book.vectors
    for _ in range(7):
        e = torch.randn(40, 3).double()
        codes, vectors, _ = book(e.clone().requires_grad_())
        torch.testing.assert_close(vectors, (m / n[:, None])[codes])
        each = torch.nn.functional.one_hot(codes, 6).double()
        n, m = 0.8 * n + 0.2 * each.sum(0), 0.8 * m + 0.2 * each.T @ e
        torch.testing.assert_close(book.counts, n)
        torch.testing.assert_close(book.vectors, m / n[:, None])


def test_a_vector_without_encodings_stays_where_it_is() -> None:
    book = _begun(Codebook(6, 2, 0.25, "ema", 0.5, 0.0))
    with torch.no_grad():
        book.vectors[3] = 1e6
    for _ in range(1200):
        book(torch.randn(8, 2).double().requires_grad_())
    assert (book.vectors[3] == 1e6).all()
    assert book.vectors.isfinite().all()


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_nothing_moves_in_evaluation_nor_without_gradients(learning: str) -> None:
    h, c = torch.randn(9, 7), torch.zeros(9, 0)
    for latent in (VQ((7,), 0, **SMALL, codebook=learning), ResidualVQ((7,), 0, **SMALL, codebook=learning)):
        for _ in range(2):  # before the first step of training, and after
            before = {name: tensor.clone() for name, tensor in latent.state_dict().items()}
            _drawn(latent.eval(), h, c)
            with torch.no_grad():
                _drawn(latent.train(), h, c)
            latent.requires_grad_(False)
            _drawn(latent, h, c)  # the turn of another player
            latent.requires_grad_(True)
            for name, tensor in latent.state_dict().items():
                assert torch.equal(tensor, before[name]), name
            _drawn(latent, h, c)
            assert not any(torch.equal(t, before[name]) for name, t in latent.state_dict().items() if "counts" in name)


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_the_first_step_of_training_makes_it_of_encodings(learning: str) -> None:
    latent = VQ((7,), 0, codes=10, width=4, positions=3, codebook=learning, decay=0.999999).double()
    h, c = _inputs(40, 7)
    e = latent.head(h).unflatten(1, (3, 4)).flatten(0, 1)
    _drawn(latent, h, c)
    distance, nearest = torch.cdist(latent.book.vectors, e).min(1)
    assert distance.max() < 1e-4
    assert len(nearest.unique()) == 10
    before = latent.book.vectors.clone()
    _drawn(latent, *_inputs(40, 7))
    torch.testing.assert_close(latent.book.vectors, before, rtol=0, atol=1e-4)


def test_fewer_encodings_than_codes_are_enough() -> None:
    latent = VQ((7,), 0, codes=100, width=4, positions=2)
    _drawn(latent, torch.randn(3, 7), torch.zeros(3, 0))
    assert len(latent.book.vectors.unique(dim=0)) == 6


def _used(revive: float, learning: str = "ema") -> tuple[int, float]:
    """How many of 32 codes are in use after training, of which 28 were put far away at the start; and the perplexity."""
    book = _begun(Codebook(32, 2, 0.25, learning, 0.9, revive))
    with torch.no_grad():
        book.vectors[4:] = 1e3
    for _ in range(200):
        book(torch.randn(256, 2).double().requires_grad_())
    codes = book.nearest(torch.randn(5000, 2).double())
    return len(codes.unique()), book.perplexity().item()


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_codes_out_of_use_come_alive_where_that_is_asked_for(learning: str) -> None:
    dead, few = _used(0.0, learning)
    alive, many = _used(0.1, learning)
    assert dead == 4
    assert few <= 4 + 1e-6
    assert alive == 32
    assert 16 < many <= 32


def test_perplexity_is_that_of_the_counts() -> None:
    book = Codebook(4, 2, 0.25, "ema", 0.9, 0.0)
    for counts, wanted in (([7.0, 7.0, 7.0, 7.0], 4), ([3.0, 3.0, 0.0, 0.0], 2), ([0.0, 9.0, 0.0, 0.0], 1)):
        book.counts = torch.tensor(counts)
        assert book.perplexity().item() == pytest.approx(wanted)


def test_each_quantizer_brings_the_sum_nearer() -> None:
    latent = ResidualVQ((7,), 0, quantizers=4, codes=16, width=4, positions=3, decay=0.9)
    h, c = torch.randn(400, 7), torch.zeros(400, 0)
    for _ in range(30):
        _drawn(latent, h, c)
    latent.eval()
    e = latent.head(h).unflatten(1, (3, 4))
    codes = latent.nearest(e)
    assert codes.shape == (400, 4, 3)
    vectors = torch.stack([book.of(own) for book, own in zip(latent.books, codes.unbind(1), strict=True)])
    errors = [(e - vectors[:k].sum(0)).square().sum(-1).mean().item() for k in range(5)]
    assert all(after < 0.75 * before for before, after in itertools.pairwise(errors))
    torch.testing.assert_close(latent.vectors(codes), vectors.sum(0))


def test_one_quantizer_is_plain_vq() -> None:
    residual, plain = ResidualVQ((7,), 0, quantizers=1, **SMALL), VQ((7,), 0, **SMALL)
    plain.load_state_dict({name.replace("books.0", "book"): tensor for name, tensor in residual.state_dict().items()})
    h, c = torch.randn(20, 7), torch.zeros(20, 0)
    for _ in range(3):
        draws = []
        for latent in (residual, plain):
            torch.manual_seed(0)
            draws.append(_drawn(latent, h, c))
        assert torch.equal(draws[0].z, draws[1].z)
        assert torch.equal(draws[0].penalty, draws[1].penalty)
        assert torch.equal(draws[0].sites[0].z[:, :, 0], draws[1].sites[0].z)


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (7, 4), (2, 3), (256,), (2,)])
def test_all_codes_of_fsq_come_back_as_they_were(levels: tuple[int, ...]) -> None:
    latent = FSQ((7,), 0, levels=levels, positions=1).double().eval()
    codes = torch.arange(prod(levels))[:, None]
    assert latent.root == vaekit.Space((1,), "codes", prod(levels))
    z = latent.vectors(codes)
    assert len(z.flatten(1).unique(dim=0)) == prod(levels)
    assert z.abs().max() <= 1
    half = torch.tensor([count // 2 for count in levels])
    assert torch.equal(latent._codes((z * half).round()), codes)
    assert torch.equal(latent.nearest(_inverse(z * half, torch.tensor(levels))), codes)


def _inverse(levels: Tensor, count: Tensor) -> Tensor:
    """The encodings that are rounded to levels, those at the ends from a little inside; by the formula, for itself."""
    h = (1 - 1e-3) * (count - 1).double() / 2
    o = torch.where(count % 2 == 0, 0.5, 0.0).double()
    inside = ((levels + o) / h).clamp(-1 + 1e-9, 1 - 1e-9)
    return torch.atanh(inside) - torch.tan(o / h)


def test_fsq_uses_every_level_and_no_other() -> None:
    latent = FSQ((4,), 0, levels=(8, 5, 2, 3), positions=1)
    e = torch.linspace(-20, 20, 4001)[:, None, None].expand(-1, 1, 4)
    z = latent.vectors(latent.nearest(e))[:, 0]
    assert [len(z[:, i].unique()) for i in range(4)] == [8, 5, 2, 3]
    assert (z.diff(dim=0) >= 0).all()
    assert (latent.vectors(latent.nearest(torch.zeros(1, 1, 4))) == 0).all()


def test_too_many_codes_of_fsq_are_refused() -> None:
    with pytest.raises(vaekit.ConfigError, match="at most 1,048,576"):
        FSQ((4,), 0, levels=(256, 256, 256))
    assert FSQ((4,), 0, levels=(256, 256, 16)).root.size == 2**20


@pytest.mark.parametrize("latent", ["vq", "residual-vq", "fsq"])
def test_a_model_of_codes_learns_and_reconstructs(latent: str) -> None:
    spec = {"name": latent, "positions": 4, **({} if latent == "fsq" else {"codes": 32, "width": 4})}
    config = {
        "data_shape": (1, 4, 4),
        "encoder": {"hidden": [64]},
        "decoder": {"hidden": [64]},
        "latent": spec,
        "prior": "codes",
    }
    model, loss = vaekit.build(config)
    x = (torch.rand(48, 1, 4, 4) > 0.5).float()
    for _ in vaekit.train(model, loss, [x], epochs=150, lr=5e-3, device="cpu"):
        pass
    assert (model.reconstruct(x).round() == x).double().mean() > 0.9
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x)))
    trace = model.eval()(x, x.new_zeros(48, 0), 3)
    codes = trace.draw.sites[0].z[0]
    torch.testing.assert_close(trace.kl(), -model.prior_z(x.new_zeros(48, 0)).log_prob(codes))
    torch.testing.assert_close(model.log_likelihood(x, k=3), trace.elbo().double().detach(), rtol=1e-5, atol=1e-3)
