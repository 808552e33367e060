"""What the demo works out, against what the library says or what is known."""

import math
from collections.abc import Callable

import pytest
import torch
from vaekit_demo.engine import answers
from vaekit_demo.engine.frame import Frame
from vaekit_demo.engine.pictures import gif, pictures, png, tiled
from vaekit_demo.engine.plane import Plane, manifold
from vaekit_demo.engine.shown import Shown

import vaekit
from vaekit import VAE, ConfigError, DataError, Examples, ShapeError, figures
from vaekit.data.prepare import Data
from vaekit.evaluation import bound


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_from_the_prior_are_those_of_sample(deep: Shown, temperature: float) -> None:
    z, _ = deep.drawn(5, None, seed=7, temperature=temperature)
    wanted = deep.model.sample(5, seed=7, temperature=temperature)
    torch.testing.assert_close(deep.model.decode(z), wanted)


def test_draws_from_the_aggregated_posterior_lie_where_the_codes_do(deep: Shown) -> None:
    z, _ = deep.drawn(1000, None, seed=0, posterior=True)
    assert torch.equal(z, deep.drawn(1000, None, seed=0, posterior=True)[0])
    torch.testing.assert_close(z.mean(0), deep.survey.mean, atol=0.3, rtol=0)
    torch.testing.assert_close(z.std(0), deep.survey.sd, atol=0.3, rtol=0)


def test_without_data_the_map_is_of_own_samples_and_says_why(alone: Shown) -> None:
    assert alone.survey.numbers is None
    assert alone.survey.kl is not None
    torch.testing.assert_close(alone.survey.z, alone.drawn(1000, None, seed=0)[0])
    for ask in (lambda: answers.random_example(alone, 0), lambda: alone.drawn(3, None, 0, posterior=True)):
        with pytest.raises(DataError, match="elsewhere"):
            ask()


def test_the_survey_is_what_evaluation_says(deep: Shown, data: Data) -> None:
    wanted = bound(deep.model, vaekit.Batches(data.test, 64))
    assert deep.survey.kl is not None
    assert float(deep.survey.kl.sum()) == pytest.approx(wanted["kl"], rel=1e-5)
    assert deep.survey.order[0] == int(deep.survey.kl.argmax())


def test_a_look_is_the_code_the_reconstruction_and_the_bound(deep: Shown, data: Data) -> None:
    found = answers.look(deep, answers.example(deep, 3))
    x, _ = next(iter(vaekit.Batches(data.test.take(torch.tensor([3])), 1)))
    torch.testing.assert_close(found.again, deep.model.reconstruct(x))
    torch.testing.assert_close(found.code[None], deep.model.encode(x))
    q = deep.model.posterior(x, torch.zeros(1, 0))
    assert found.sd is not None
    torch.testing.assert_close(found.sd[None], q.stddev)
    wanted = bound(deep.model, [x], samples=2000)
    assert answers.look(deep, answers.example(deep, 3), seed=9).terms == found.terms
    assert found.terms is not None
    assert found.terms["kl"] == pytest.approx(wanted["kl"], rel=1e-5)
    assert found.terms["nelbo"] == pytest.approx(wanted["nelbo"], abs=3)
    assert found.terms["nelbo"] == pytest.approx(found.terms["reconstruction"] + found.terms["kl"])
    assert found.note == ""


def test_a_drawn_z_is_of_its_seed(deep: Shown) -> None:
    given = answers.example(deep, 0)
    first, again, other = (answers.look(deep, given, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.z, again.z)
    assert not torch.equal(first.z, other.z)
    assert torch.equal(first.code, other.code)


def test_values_outside_the_support_are_said_to_make_no_bound(deep: Shown) -> None:
    grey = answers.Input(torch.full((1, 1, 8, 8), 0.5))
    assert "pseudo-likelihood" in answers.look(deep, grey).note


def test_a_plane_gives_back_what_lies_on_it(deep: Shown) -> None:
    for axes in (None, "pca", (4, 1)):
        plane = Plane.through(deep, axes)
        torch.testing.assert_close(plane.a @ plane.a, torch.tensor(1.0))
        torch.testing.assert_close(plane.a @ plane.b, torch.tensor(0.0))
        z = deep.survey.z[5]
        there = plane.through_point(z, torch.tensor([[0.3, -0.7]]))
        torch.testing.assert_close(plane.of(there), torch.tensor([[0.3, -0.7]]))
        off = there[0] - z
        torch.testing.assert_close(off - (off @ plane.a) * plane.a - (off @ plane.b) * plane.b, torch.zeros(6))
    assert Plane.through(deep, (4, 1)).labels[0].startswith("z4")


def test_principal_axes_hold_the_most_variance(deep: Shown) -> None:
    principal = Plane.through(deep, "pca").points(deep.survey).var(0)
    others = [Plane.through(deep, (i, j)).points(deep.survey).var(0).sum() for i in range(6) for j in range(i)]
    assert float(principal.sum()) >= max(map(float, others)) - 1e-5
    assert principal[0] >= principal[1]


@pytest.mark.parametrize("axes", [(0, 0), (0, 6), (9, 1)])
def test_axes_that_are_not_there(deep: Shown, axes: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="0 to 5"):
        Plane.through(deep, axes)


def test_the_manifold_of_a_plane_is_the_figure(plane: Shown) -> None:
    across, up, found = manifold(plane, (0, 1), torch.zeros(2), None, 5)
    assert up.tolist() == sorted(up.tolist(), reverse=True)
    assert across.tolist() == sorted(across.tolist())
    wanted = figures.manifold(plane.model, 5)
    rows = found[..., 0].reshape(5, 5, 8, 8).transpose(0, 2, 1, 3).reshape(40, 40)
    assert abs(rows.astype(int) - wanted.astype(int)).max() <= 1


def test_strips_change_one_dimension_each(deep: Shown) -> None:
    z = deep.survey.z[0]
    values, found = answers.strips(deep, z, None, [2, 5], 3)
    changed = z.clone()
    changed[5] = values[1, 2]
    assert (found[5] == deep.decode(changed[None], None)[0]).all()
    torch.testing.assert_close(values[:, 1], deep.survey.mean[[2, 5]])


def test_frames_are_those_of_interpolate(deep: Shown) -> None:
    a, b = (answers.example(deep, i) for i in (0, 1))
    codes = [answers.look(deep, one).code for one in (a, b)]
    found, z = answers.frames(deep, codes[0], codes[1], None, 7)
    wanted = pictures(deep.model.interpolate(a.x[0], b.x[0], 7))
    assert abs(found.astype(int) - wanted.astype(int)).max() <= 1
    torch.testing.assert_close(z[[0, -1]], torch.stack(codes))


def test_mean_codes_of_classes(deep: Shown) -> None:
    assert deep.survey.y is not None
    torch.testing.assert_close(answers.mean_code(deep, 4), deep.survey.z[deep.survey.y == 4].mean(0))
    with pytest.raises(ConfigError, match="class 77"):
        answers.mean_code(deep, 77)


def test_codes_of_the_wrong_size(deep: Shown) -> None:
    with pytest.raises(ShapeError, match="has 6"):
        deep.decode(torch.zeros(1, 5), None)


# Data and latents of other shapes.


@pytest.mark.parametrize(("shape", "size"), [((12,), (64, 120)), ((5, 7), (5, 7)), ((3, 6, 4), (6, 4)), ((2, 6, 4), (6, 8))])
def test_any_shape_of_data_is_shown(
    shape: tuple[int, ...], size: tuple[int, int], untrained: Callable[..., VAE], several: Callable[..., Examples], alone: Shown
) -> None:
    shown = Shown("any", "any", untrained(shape), lambda: several(shape=shape))
    assert shown.decode(torch.zeros(2, 3), None).shape[:3] == (2, *size)
    assert answers.look(shown, answers.example(shown, 0)).terms is not None
    assert Shown("any", "any", shown.model, alone._find).survey.z.shape == (1000, 3)


def test_one_dimension(data: Data, untrained: Callable[..., VAE]) -> None:
    shown = Shown("line", "a line", untrained((1, 8, 8), features=1), lambda: data.test)
    plane, places, _ = answers.places(shown, None)
    torch.testing.assert_close(places[:, 0], shown.survey.z[:, 0])
    assert not plane.b.any()
    assert manifold(shown, None, torch.zeros(1), None, 3)[2].shape[0] == 9


def test_images_of_other_values_are_scaled_to_be_seen(untrained: Callable[..., VAE]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 5 + 3 * torch.randn(50, 1, 8, 8, generator=generator)
    shown = Shown("bright", "bright", untrained((1, 8, 8)), lambda: Examples(x))
    seen = shown.pictures(x)
    assert float((seen == 255).mean()) < 0.01
    assert 110 < seen.mean() < 145


def test_no_more_than_so_many_are_decoded(untrained: Callable[..., VAE]) -> None:
    shown = Shown("large", "large", untrained((3, 256, 256)), lambda: Examples(torch.zeros(9, 3, 256, 256)))
    z = torch.zeros(3)
    assert shown.most == 21
    for ask in (
        lambda: shown.decode(torch.zeros(22, 3), None),
        lambda: shown.drawn(22, None, 0),
        lambda: manifold(shown, None, z, None, 5),
        lambda: answers.strips(shown, z, None, [0, 1, 2], 9),
        lambda: answers.frames(shown, z, z, None, 49),
    ):
        with pytest.raises(ConfigError, match="21"):
            ask()
    assert len(shown.decode(torch.zeros(21, 3), None)) == 21


# Pictures.


def test_pictures_are_cut_off_and_not_scaled() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 2.0]).reshape(1, 1, 2, 2)
    assert pictures(x).flatten().tolist() == [0, 0, 128, 255]
    assert pictures(x, (-1, 1)).flatten().tolist() == [0, 128, 191, 255]


def test_bars_stand_on_zero() -> None:
    found = pictures(torch.tensor([[1.0, -1.0, 0.0]]), (-1, 1))[0, :, :, 0]
    wide = found.shape[1] // 3
    up, down, none = (found[:, i * wide] for i in range(3))
    assert (up[:31] == 230).all()
    assert (up[34:] != 230).all()
    assert (down[33:] == 230).all()
    assert (none != 230).all()


def test_files_are_what_they_say() -> None:
    from io import BytesIO

    from PIL import Image

    many = pictures(torch.rand(5, 3, 8, 6))
    with Image.open(BytesIO(png(tiled(many, 5)))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert image.width > 5 * 6
    with Image.open(BytesIO(gif(many))) as image:
        assert image.format == "GIF"
        assert getattr(image, "n_frames", 1) == 8


# Where ink lies.


def _blobs(n: int, by_mass: bool) -> torch.Tensor:
    """Bright spots beside fainter ones, (n, 1, 28, 28): their box in the middle, or their mass."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(n, 1, 28, 28)
    for i in range(n):
        left = int(torch.randint(2, 12, (1,), generator=generator))
        shape = torch.zeros(20, 20)
        shape[:, left : left + 3] = 1.0
        shape[9:11] = 0.4
        mass = (shape.sum(0) * (torch.arange(20) + 0.5)).sum() / shape.sum()
        across = round(14 - float(mass)) if by_mass else 4
        canvas = torch.zeros(28, 40)
        canvas[4:24, 6 + across : 26 + across] = shape
        x[i, 0] = canvas[:, 6:34]
    return x


@pytest.mark.parametrize("by_mass", [False, True])
@pytest.mark.parametrize("ground", [0.0, 1.0])
def test_a_frame_is_found_and_kept(by_mass: bool, ground: float) -> None:
    x = _blobs(200, by_mass)
    frame = Frame.of((x - ground).abs())
    assert frame.ground == ground
    assert frame.by_mass == by_mass
    assert frame.reach == pytest.approx(20 / 28, abs=0.01)
    assert frame.centre == pytest.approx((0.5, 0.5), abs=0.02)
    large = x[7, 0].repeat_interleave(10, 0).repeat_interleave(10, 1)
    moved = torch.zeros(400, 400)
    moved[100:380, 20:300] = large
    fitted = frame.fit(moved, 28, 28)
    assert fitted is not None
    assert float((fitted - (x[7, 0] - ground).abs()).abs().mean()) < 0.02
    assert frame.fit(torch.zeros(50, 50), 28, 28) is None


def test_what_is_heavy_at_one_end_is_not_cut_off() -> None:
    frame = Frame(0.0, 20 / 28, (0.5, 0.5), by_mass=True)
    drawing = torch.zeros(100, 100)
    drawing[10:20, 10:90] = drawing[10:90, 48:52] = 1
    fitted = frame.fit(drawing, 28, 28)
    assert fitted is not None
    inked = fitted.amax(1) > 0.1
    assert int(inked.sum()) == 20
    assert bool(inked[-1])


def test_photographs_have_no_frame() -> None:
    frame = Frame.of(torch.rand(100, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert frame.reach == 1
    whole = torch.rand(32, 32)
    fitted = frame.fit(whole, 16, 16)
    assert fitted is not None
    assert fitted.shape == (16, 16)
    assert math.isfinite(float(fitted.sum()))
