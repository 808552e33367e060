"""What people do with a model."""

import math
import threading

import pytest
import torch
from torch import Tensor, nn

import vaekit
from vaekit.paths import path


@pytest.fixture
def model(make):
    return make()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(4, 1, 6, 5)


def test_shapes(model, x: Tensor) -> None:
    assert model.data_shape == (1, 6, 5)
    assert model.sample(3).shape == (3, 1, 6, 5)
    assert model.encode(x).shape == (4, 2)
    assert model.decode(torch.zeros(5, 2)).shape == (5, 1, 6, 5)
    assert model.reconstruct(x).shape == x.shape
    assert model.interpolate(x[0], x[1], 7).shape == (7, 1, 6, 5)
    assert model.log_likelihood(x, k=3).shape == (4,)


def test_the_deterministic_methods_are(model, x: Tensor) -> None:
    for method in (model.encode, model.reconstruct, lambda x: model.interpolate(x[0], x[1])):
        assert torch.equal(method(x), method(x))
    torch.testing.assert_close(model.reconstruct(x), model.decode(model.encode(x)))
    torch.testing.assert_close(model.interpolate(x[0], x[1])[[0, -1]], model.reconstruct(x[:2]))


def test_sampling_depends_on_the_seed_alone_and_leaves_the_generator_as_it_was(model) -> None:
    before = torch.get_rng_state()
    a, b, c = model.sample(4, seed=1), model.sample(4, seed=1), model.sample(4, seed=2)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    first = model.sample(4)
    torch.manual_seed(5)
    assert torch.equal(model.sample(4), first)


def test_seeded_draws_of_several_threads_do_not_disturb_each_other(model) -> None:
    want = {seed: model.sample(8, seed=seed) for seed in range(4)}
    wrong: list[int] = []

    def draw(seed: int) -> None:
        for _ in range(50):
            if not torch.equal(model.sample(8, seed=seed), want[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in want]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_temperature(model) -> None:
    cold = model.sample(8, temperature=0.0, seed=0)
    assert torch.allclose(cold, model.decode(torch.zeros(8, 2)), atol=1e-6)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(vaekit.ConfigError, match="temperature"):
            model.sample(1, temperature=wrong)


def test_draws_are_data_and_means_are_their_means(model) -> None:
    drawn = model.sample(2000, temperature=0.0, draw=True, seed=0)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), model.decode(torch.zeros(1, 2))[0], atol=0.06, rtol=0)


def test_people_run_it_in_evaluation_mode_and_find_it_as_they_left_it(x: Tensor) -> None:
    model, _ = vaekit.build(
        vaekit.Config(
            data_shape=(1, 6, 5), encoder={"name": "conv", "width": 4}, decoder={"hidden": [8]}, latent={"features": 2}
        )
    )
    model.train()
    model.decoder.eval()
    buffers = [b.clone() for b in model.buffers()]
    a, b = model.encode(x), model.encode(x[:2])
    torch.testing.assert_close(a[:2], b)
    assert all(torch.equal(old, new) for old, new in zip(buffers, model.buffers(), strict=True))
    assert model.encoder.training
    assert not model.decoder.training
    assert not a.requires_grad


def test_a_prior_made_of_posteriors_sees_running_statistics(x: Tensor) -> None:
    model, _ = vaekit.build(vaekit.Config(data_shape=(1, 6, 5), encoder={"name": "conv", "width": 4}))
    seen: list[Tensor] = []

    class Posteriors(nn.Module):
        def forward(self, c: Tensor, posterior) -> torch.distributions.Distribution:
            q = posterior(x[: c.shape[0]], c)
            seen.append(q.mean)
            return q

    model.prior = Posteriors()
    model.train()
    model(x, torch.zeros(4, 0))
    assert all(m.training for m in model.encoder.modules())
    model.eval()
    model(x[:1], torch.zeros(1, 0))
    torch.testing.assert_close(seen[0][:1], model.posterior(x[:1], torch.zeros(1, 0)).mean, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda m: m.sample(0), vaekit.ConfigError, "at least one"),
        (lambda m: m.sample(2, y=3), vaekit.ConfigError, "not conditional"),
        (lambda m: m.encode(torch.rand(2, 6, 5)), vaekit.ShapeError, r"\(2, 6, 5\); this model takes \(N, 1, 6, 5\)"),
        (lambda m: m.encode(torch.rand(0, 1, 6, 5)), vaekit.ShapeError, "x has shape"),
        (lambda m: m.encode(torch.zeros(2, 1, 6, 5, dtype=torch.uint8)), vaekit.DataError, "bytes"),
        (lambda m: m.encode(torch.full((2, 1, 6, 5), float("nan"))), vaekit.DataError, "not finite"),
        (lambda m: m.decode(torch.zeros(2, 3)), vaekit.ShapeError, r"z has shape \(2, 3\)"),
        (lambda m: m.interpolate(torch.rand(1, 6, 5), torch.rand(1, 6, 5), 1), vaekit.ConfigError, "two ends"),
        (lambda m: m.log_likelihood(torch.rand(1, 1, 6, 5), k=0), vaekit.ConfigError, "at least one"),
    ],
)
def test_bad_input_is_one_clear_error(model, ask, error, said: str) -> None:
    with pytest.raises(error, match=said):
        ask(model)


def test_numpy_arrays_are_welcome(model, x: Tensor) -> None:
    torch.testing.assert_close(model.encode(x.numpy().astype("float64")), model.encode(x))


def test_chunks_of_importance_samples_count_as_one(model, x: Tensor, monkeypatch) -> None:
    """A chunked logsumexp over the same draws: with one sample a chunk, the mean over k of weights is what it says."""
    import vaekit.model

    want = model.log_likelihood(x, k=400, seed=0)
    monkeypatch.setattr(vaekit.model, "_ELEMENTS_AT_ONCE", 7 * x.numel())
    torch.testing.assert_close(model.log_likelihood(x, k=400, seed=0), want, atol=0.2, rtol=0)


def test_paths_are_straight_in_few_dimensions_and_arcs_in_many() -> None:
    real2, real5 = vaekit.Space((2,)), vaekit.Space((5,))
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    torch.testing.assert_close(path(a, b, 3, real2)[1], (a + b) / 2)
    a, b = torch.randn(5), torch.randn(5)
    way = path(a, b, 11, real5)
    torch.testing.assert_close(way[[0, -1]], torch.stack([a, b]))
    torch.testing.assert_close(way.norm(dim=1), torch.linspace(a.norm(), b.norm(), 11))
    torch.testing.assert_close(path(a, a, 3, real5), a.expand(3, 5))
    assert torch.isfinite(path(torch.zeros(5), b, 3, real5)).all()
    grid = torch.randn(2, 2, 3, 4)
    middle = torch.nn.functional.normalize((grid / grid.flatten(1).norm(dim=1)[:, None, None, None]).sum(0).flatten(), dim=0)
    way = path(grid[0], grid[1], 3, vaekit.Space((2, 3, 4)))
    torch.testing.assert_close(torch.nn.functional.normalize(way[1].flatten(), dim=0), middle)


@pytest.mark.parametrize("features", [2, 3, 64])
def test_paths_on_the_sphere_keep_to_it_and_turn_evenly_however_near_or_opposite_the_ends(features: int) -> None:
    root = vaekit.Space((features,), "sphere")
    for off in (0.0, 1e-8, 1e-6, 1e-5, 1e-3, 0.1, 1.0, 3.0, -3.0, -1.0, -0.1, -1e-3, -1e-5, -1e-6, -1e-8, -0.0):
        a, aside = torch.nn.functional.normalize(torch.randn(2, features), dim=1)
        b = torch.nn.functional.normalize(math.copysign(1, off) * a + off * aside, dim=0)
        way = path(a, b, 9, root)
        assert torch.equal(way, path(a, b, 9, root))
        torch.testing.assert_close(way.norm(dim=1), torch.ones(9))
        torch.testing.assert_close(way[[0, -1]], torch.stack([a, b]), atol=5e-6, rtol=0)
        angle = 2 * torch.atan2((a - b).norm(), (a + b).norm())
        torch.testing.assert_close(way.diff(dim=0).norm(dim=1), (2 * (angle / 16).sin()).expand(8), atol=5e-6, rtol=0)


def test_paths_between_opposite_ends_do_not_pass_through_the_centre() -> None:
    a = torch.randn(16)
    way = path(a, -2 * a, 5, vaekit.Space((16,)))
    torch.testing.assert_close(way.norm(dim=1), a.norm() * torch.linspace(1, 2, 5))


def test_paths_leave_neither_the_ball_nor_the_simplex() -> None:
    ends = 0.999 * torch.nn.functional.normalize(torch.randn(2, 5), dim=1)
    assert (path(*ends, 9, vaekit.Space((5,), "ball")).norm(dim=1) < 1).all()
    rows = (5 * torch.randn(2, 2, 4)).softmax(-1)
    for root in (vaekit.Space((2, 4), "simplex"), vaekit.Space((3,))):  # all of z, or a part beside a real root
        way = path(*torch.cat([torch.randn(2, 3), rows.flatten(1)], 1), 9, root)[:, 3:].unflatten(1, (2, 4))
        torch.testing.assert_close(way.sum(-1), torch.ones(9, 2))
        assert (way >= 0).all()


def test_there_is_no_path_between_codes() -> None:
    with pytest.raises(
        vaekit.ConfigError, match="from one code to the next: interpolation is for latents of continuous values"
    ):
        path(torch.randn(5), torch.randn(5), 3, vaekit.Space((5,), "codes", 8))


def test_batch_mates_do_not_matter(model, x: Tensor) -> None:
    c = torch.zeros(8, 0)
    doubled = torch.cat([x, x])
    torch.testing.assert_close(
        model.px(model.encode(doubled), c).log_prob(doubled)[:4], model.px(model.encode(x), c[:4]).log_prob(x)
    )


def test_much_is_decoded_in_parts(make, monkeypatch) -> None:
    model = make()
    x = torch.rand(7, 1, 6, 5)
    ways = [
        lambda: model.sample(7, seed=0),
        lambda: model.encode(x),
        lambda: model.decode(model.encode(x)),
        lambda: model.reconstruct(x),
        lambda: model.interpolate(x[0], x[1], 7),
    ]
    at_once = [way() for way in ways]
    monkeypatch.setattr("vaekit.model._ELEMENTS_AT_ONCE", 60)
    for way, whole in zip(ways, at_once, strict=True):
        torch.testing.assert_close(way(), whole)
    assert model.sample(7, draw=True, seed=0).unique().tolist() == [0, 1]


def test_memory_that_is_not_there_is_told_in_one_line(make) -> None:
    said = r"not the memory: an example of shape \(1, 6, 5\) takes 120 bytes, and \d{15,} bytes were asked for; ask for fewer"
    with pytest.raises(vaekit.ConfigError, match=said):
        make().sample(2**50)
