"""Pictures: the right pixels in the right places."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from vaekit import figures
from vaekit.data.batches import Batches


def test_a_grid_is_filled_row_by_row() -> None:
    images = torch.arange(5).reshape(5, 1, 1, 1).expand(5, 1, 2, 3) / 255
    picture = figures.grid(images, columns=3)
    assert picture.shape == (5, 11)
    assert picture.dtype == np.uint8
    assert (picture[:2, :3] == 0).all()
    assert (picture[:2, 4:7] == 1).all()
    assert (picture[3:, :3] == 3).all()
    assert (picture[2] == 128).all()
    assert (picture[3:, 8:] == 128).all()


def test_colours_sequences_and_values_outside() -> None:
    red = torch.tensor([2.0, -1.0, 0.5]).reshape(1, 3, 1, 1)
    assert figures.grid(red, 1).tolist() == [[[255, 0, 128]]]
    assert figures.grid(torch.ones(1, 4, 3), 1).shape == (4, 3)
    with pytest.raises(vaekit.ShapeError, match="cannot be shown"):
        figures.grid(torch.zeros(1, 5), 1)


def test_reconstructions_stand_under_their_originals(make) -> None:
    model = make()
    x = torch.rand(3, 1, 6, 5)
    picture = figures.reconstructions(model, x, columns=2)
    assert picture.shape == (4 * 7 - 1, 2 * 6 - 1)
    want = (x * 255).round().byte()
    assert (picture[:6, :5] == want[0, 0].numpy()).all()
    assert (picture[14:20, :5] == want[2, 0].numpy()).all()
    below = (model.reconstruct(x)[0, 0] * 255).round().byte().numpy()
    assert (picture[7:13, :5] == below).all()


def test_a_manifold_lies_on_normal_quantiles_with_the_second_axis_upwards(make) -> None:
    model = make()
    seen = []
    model.decode = lambda z, y=None: seen.append(z) or torch.zeros(len(z), 1, 6, 5)
    figures.manifold(model, 4)
    (z,) = seen
    assert torch.special.ndtr(z[:4, 0]).tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert z[0, 1] > z[-1, 1]
    with pytest.raises(vaekit.ConfigError, match="two real latent dimensions"):
        figures.manifold(make(latent={"features": 3}))


def test_a_conditional_model_shows_a_class_a_row() -> None:
    run_model, _ = vaekit.build(
        vaekit.Config(
            data_shape=(1, 4, 4),
            context={"name": "labels", "classes": 3},
            data={"name": "toy", "examples": 9, "classes": ("a", "b", "c")},
        )
    )
    assert figures.samples(run_model.eval(), columns=4).shape == (3 * 5 - 1, 4 * 5 - 1)


def test_files(tmp_path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with Image.open(figures.save(picture, tmp_path / "deep" / "a.png", at_least=8)) as saved:
        assert (np.asarray(saved) == picture.repeat(2, 0).repeat(2, 1)).all()
    with Image.open(figures.save_gif([picture, 255 - picture, picture[::-1].copy()], tmp_path / "b.gif", at_least=4)) as gif:
        assert gif.n_frames == 4
    with pytest.raises(vaekit.ConfigError, match=r"b.png cannot be written: an animation is a .gif file"):
        figures.save_gif([picture], tmp_path / "b.png")
    rows = [
        {"epoch": e, "split": s, "nelbo": 9.0 / e, "reconstruction": 8.0, "kl": 1.0}
        for e in (1, 2)
        for s in ("train", "validation")
    ]
    with Image.open(figures.curves(rows, tmp_path / "c.png")) as curves:
        assert curves.width > 1000


def test_curves_of_no_epoch_have_no_legend() -> None:
    for rows in ([], [{"epoch": 1, "split": "test", "nelbo": 9.0}]):
        assert all(axes.get_legend() is None for axes in figures.curves_of(rows).axes)
    rows = [{"epoch": 1, "split": "train", "nelbo": 9.0}]
    assert [text.get_text() for text in figures.curves_of(rows).axes[0].get_legend().get_texts()] == ["train"]


def pixels(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def test_a_manifold_takes_the_prior_as_it_is_and_refuses_others(make, monkeypatch) -> None:
    model = make()
    seen = []
    monkeypatch.setattr(
        model, "prior_z", lambda c: vaekit.distributions.normal(torch.tensor([[1.0, -1.0]]), torch.full((1, 2), 2.0))
    )
    model.decode = lambda z, y=None: seen.append(z) or torch.zeros(len(z), 1, 6, 5)
    figures.manifold(model, 3)
    corner = 2 * torch.special.ndtri(torch.tensor(1 / 6)).item()
    assert seen[0][0].tolist() == pytest.approx([1 + corner, -1 - corner])  # left and above
    assert seen[0][-1].tolist() == pytest.approx([1 - corner, -1 + corner])
    monkeypatch.setattr(model, "prior_z", lambda c: vaekit.distributions.laplace(torch.zeros(1, 2), torch.ones(1, 2)))
    with pytest.raises(vaekit.ConfigError, match="quantiles of a normal prior"):
        figures.manifold(model, 3)
    with pytest.raises(vaekit.ConfigError, match="give y"):
        figures.manifold(make(context={"name": "labels", "classes": 3}))


def test_codes_are_where_they_are_and_coloured_by_class() -> None:
    codes = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    figure = figures.scatter(codes, torch.tensor([0, 1, 1]), ["cat", "$dog", "_"])
    (points,) = figure.axes[0].collections
    order = points.get_offsets()[:, 0].argsort()  # they are drawn in any
    assert points.get_offsets()[order].tolist() == codes.tolist()
    colours = points.get_facecolors()[order].tolist()
    assert colours[1] == colours[2] != colours[0]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["cat", r"\$dog"]
    pixels(figure)
    pixels(figures.scatter(torch.rand(40, 2), torch.arange(40)))
    crowd = figures.scatter(torch.rand(5010, 2), torch.arange(5010) // 501)
    assert crowd.axes[0].get_title() == "Codes; 5,000 of 5,010 examples"
    (dots,) = crowd.axes[0].collections
    assert dots.get_sizes()[0] < points.get_sizes()[0] / 3
    assert dots.get_facecolors()[0, 3] < points.get_facecolors()[0, 3]
    assert len(np.unique(dots.get_facecolors()[:100], axis=0)) == 10  # no class over the others


def test_codes_in_more_dimensions_are_projected() -> None:
    flat = torch.randn(60, 1) * torch.tensor([[0.0, 3.0, 0.0]]) + torch.randn(60, 1) * torch.tensor([[1.0, 0.0, 0.0]])
    figure = figures.scatter(flat)
    places = torch.tensor(figure.axes[0].collections[0].get_offsets().tolist())
    torch.testing.assert_close(places, (flat - flat.mean(0))[:, [1, 0]], atol=1.0, rtol=0)
    assert "PCA" in figure.axes[0].get_title()
    title = figures.scatter(flat, method="tsne", perplexity=7, seed=5).axes[0].get_title()
    assert "t-SNE, perplexity 7, seed 5" in title
    for wrong, said in (({"method": "raw"}, "no plane"), ({"method": "tsne", "perplexity": 60}, "below the number")):
        with pytest.raises(vaekit.ConfigError, match=said):
            figures.scatter(flat, **wrong)
    with pytest.raises(vaekit.ConfigError, match="two dimensions"):
        figures.scatter(flat[:, :1])
    same = figures.scatter(torch.ones(60, 5), method="tsne")  # which scikit-learn does not survive
    assert "all of them the same" in same.axes[0].get_title()


def test_thumbnails_lie_at_their_codes_and_not_over_another() -> None:
    codes = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    figure = figures.thumbnails(codes, torch.ones(3, 1, 4, 4), torch.tensor([1, 0, 1]), ["a", "b"])
    canvas = figure.axes[0].images[0].get_array()
    assert "2 of 3" in figure.axes[0].get_title()
    rows, columns = np.nonzero((canvas != 255).any(-1))
    assert len(rows) == 2 * 44 * 44
    upper = rows < 750
    assert columns[upper].min() > 750  # z of (1, 1) is right and above
    assert columns[~upper].max() < 750
    assert (canvas[rows[upper][0], columns[upper][0]] != canvas[rows[~upper][0], columns[~upper][0]]).any()


def test_traversals_are_in_the_order_of_kl_over_the_range_of_the_draws(make) -> None:
    model = make(latent={"features": 3})
    with torch.no_grad():
        model.latent.head.weight[:3] *= torch.tensor([[0.1], [9.0], [2.0]])
    seen = []
    model.decode = lambda z, y=None: seen.append(z) or torch.rand(len(z), 1, 6, 5)
    x = torch.rand(50, 1, 6, 5)
    figure = figures.traversals(model, x, base=4, steps=5)
    found = figures.Posteriors.of(model, x)
    order = found.kl.argsort(descending=True).tolist()
    z = seen[0].reshape(3, 5, 3)
    for row, i in enumerate(order):
        mean, sd = found.draws[:, i].mean(), found.draws[:, i].std()
        torch.testing.assert_close(z[row, :, i], mean + sd * torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
        rest = [j for j in range(3) if j != i]
        torch.testing.assert_close(z[row, :, rest], found.code[4, rest].expand(5, 2))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert [text.split()[0] for text in labels] == [f"z{i}" for i in order]
    assert labels[0].endswith(f"KL {found.kl.max():.2f}")


def test_posteriors_agree_with_the_model(make) -> None:
    model = make()
    x = torch.rand(300, 1, 6, 5)
    found = figures.Posteriors.of(model, x, seed=1)
    torch.testing.assert_close(found.code, model.encode(x))
    torch.testing.assert_close(found.mean, found.code)
    want = (found.mean**2 + found.log_variance.exp() - found.log_variance - 1) / 2
    torch.testing.assert_close(found.kl, want.mean(0).double())
    assert not torch.equal(found.draws, figures.Posteriors.of(model, x, seed=2).draws)
    with pytest.raises(vaekit.ConfigError, match="no examples"):
        figures.Posteriors.of(model, x[:0])


def test_kl_bars_stand_in_order_and_are_as_high_as_they_say() -> None:
    figure = figures.kl_bars(torch.tensor([0.05, 2.0, 0.5]))
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx([2.0, 0.5, 0.05])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2", "0"]
    assert "2 of 3 in use" in figure.axes[0].get_title()
    pixels(figures.kl_bars(torch.zeros(100)))
    with pytest.raises(vaekit.ConfigError, match="finite numbers"):
        figures.kl_bars(torch.zeros(2, 2))


def test_rate_and_distortion_lie_on_lines_of_their_sum() -> None:
    figure = figures.rate_distortion([(2.0, 20.0, "a"), (5.0, 16.0, "$b")])
    *lines, points = figure.axes[0].lines
    assert points.get_xydata().tolist() == [[2, 20], [5, 16]]
    assert lines
    for line in lines:
        assert np.ptp(line.get_xydata().sum(1)) < 1e-9
    pixels(figure)
    pixels(figures.rate_distortion([(0.0, -700.0, "one")]))
    way = [(13.0, 123.0, "epoch 1"), (16.5, 103.0, ""), (18.3, 87.0, ""), (18.8, 85.3, "epoch 10"), (18.6, 84.0, "")]
    way += [(18.7, 83.6, ""), (18.9, 83.2, "epoch 15")]
    figure = figures.rate_distortion(way, connect=True)
    figure.canvas.draw()
    axes = figure.axes[0]
    *_, path = axes.lines
    corners = axes.transData.transform(path.get_xydata())
    drawn = np.concatenate([a + (b - a) * np.linspace(0, 1, 300)[:, None] for a, b in itertools.pairwise(corners)])
    labels = [text.get_window_extent() for text in axes.texts if text.get_text().startswith("epoch")]
    assert len(labels) == 3
    for i, box in enumerate(labels):
        assert not ((drawn > box.min - 2) & (drawn < box.max + 2)).all(1).any()
        assert box.count_overlaps([*labels[:i], *labels[i + 1 :]]) == 0
        ends = corners[[0, 3, 6]]
        assert np.linalg.norm(ends - ends.clip(box.min, box.max), axis=1).argmin() == i
    for wrong in ([], [(1.0, float("nan"), "x")]):
        with pytest.raises(vaekit.ConfigError, match="at least one"):
            figures.rate_distortion(wrong)


def test_the_kl_surface_shows_posteriors() -> None:
    plain = pixels(figures.kl_surface())
    mean = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    figure = figures.kl_surface(mean, torch.full((2, 2), -1.0), torch.tensor([0.1, 0.2]))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["dimension 1", "dimension 0"]
    assert pixels(figure).shape == plain.shape
    assert (pixels(figure) != plain).any()
    assert not figure.axes[0].get_legend().get_title().get_text()
    many = figures.kl_surface(torch.zeros(3, 10), torch.full((3, 10), -30.0), torch.rand(10))
    assert many.axes[0].get_legend().get_title().get_text() == "5 of 10, by KL"
    assert many.axes[0].get_ylim()[0] == many.axes[0].images[0].get_extent()[2] < -30
    with pytest.raises(vaekit.ConfigError, match="one shape"):
        figures.kl_surface(mean)


def test_classes_have_a_row_each_and_a_draw_a_column() -> None:
    model, _ = vaekit.build(
        vaekit.Config(
            data_shape=(1, 4, 4),
            context={"name": "labels", "classes": 3},
            data={"name": "toy", "examples": 9, "classes": ("a", "b", "c")},
        )
    )
    model.eval()
    figure = figures.by_class(model, columns=4)
    assert figure.axes[0].images[0].get_array().shape == (3 * 5 - 1, 4 * 5 - 1)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    want = figures.grid(model.sample(4, y=1, seed=0), 4)
    assert (figure.axes[0].images[0].get_array()[5:9] == want).all()


def test_what_is_not_conditional_has_no_row_for_each_class(make) -> None:
    with pytest.raises(vaekit.ConfigError, match="told no class"):
        figures.by_class(make())


def test_arithmetic_ends_at_a_less_b_and_c(make) -> None:
    model = make()
    seen = []
    model.decode = lambda z, y=None: seen.append(z) or torch.rand(len(z), 1, 6, 5)
    a, b, c = torch.rand(3, 4, 1, 6, 5)
    figures.arithmetic(model, a, b, c, steps=3)
    means = [model.encode(x).mean(0) for x in (a, b, c)]
    torch.testing.assert_close(seen[0][2], means[2])
    torch.testing.assert_close(seen[0][-1], means[0] - means[1] + means[2])
    with pytest.raises(vaekit.ConfigError, match="a name each"):
        figures.arithmetic(model, a, b, c[:0])


def drawn(figure) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The distances to the right and down by shift, and the height of the line."""
    right, down, reference = figure.axes[0].lines
    return *(torch.tensor(line.get_ydata()) for line in (right, down)), float(reference.get_ydata()[0])


def test_a_shift_goes_as_far_as_what_the_code_reads(make, monkeypatch) -> None:
    model = make((1, 9, 12))
    columns = torch.arange(12.0)

    def encode(x, y=None):
        """Its brightness, which a shift keeps, and the mean column of what is bright, which goes along."""
        return torch.stack([x.sum((1, 2, 3)), (x * columns).sum((1, 2, 3)) / x.sum((1, 2, 3))], 1)

    monkeypatch.setattr(model, "encode", encode)
    x = torch.zeros(40, 1, 9, 12)
    x[:, :, 3:6, 4:8] = torch.rand(40, 1, 3, 4) + 0.1
    sd = encode(x).std(0)
    figure = figures.shift(model, x, base=7, most=3)
    right, down, reference = drawn(figure)
    torch.testing.assert_close(right, torch.arange(-3, 4).abs() / sd[1] / 2**0.5, check_dtype=False, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(down, torch.zeros(7), check_dtype=False, atol=1e-4, rtol=0)
    apart = torch.pdist(encode(x) / sd).median() / 2**0.5
    assert reference == pytest.approx(float(apart), rel=0.35)
    labels = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert labels == ["−3", "−2", "−1", "0", "+1", "+2", "+3"]
    picture = figure.axes[1].images[0].get_array()
    assert (picture[:9, 13 * 4 + 5 : 13 * 4 + 9] == picture[:9, 13 * 3 + 4 : 13 * 3 + 8]).all()  # one pixel to the right

    monkeypatch.setattr(model, "encode", lambda x, y=None: torch.stack([x.sum((1, 2, 3)), x[:, 0, 0, 0] * 1e-3], 1))
    right, down, _ = drawn(figures.shift(model, x, base=7, most=3))
    torch.testing.assert_close(torch.stack([right, down]), torch.zeros(2, 7), check_dtype=False, atol=1e-4, rtol=0)
    pixels(figures.shift(model, x))


def test_what_comes_in_at_a_border_repeats_it(make, monkeypatch) -> None:
    model = make((1, 6, 5))
    seen = []
    monkeypatch.setattr(model, "encode", lambda x, y=None: seen.append(x) or x.flatten(1))
    x = torch.rand(3, 1, 6, 5)
    figures.shift(model, x, base=1, most=2)
    _, right, down = seen
    assert torch.equal(right[4, 0], x[1, 0][:, [0, 0, 0, 1, 2]])
    assert torch.equal(right[0, 0], x[1, 0][:, [2, 3, 4, 4, 4]])
    assert torch.equal(down[3, 0], x[1, 0][[0, 0, 1, 2, 3, 4]])
    assert torch.equal(right[2], x[1])


def test_a_shift_is_of_images_in_real_latents_that_vary(make, monkeypatch) -> None:
    x = torch.rand(4, 1, 6, 5)
    for wrong, said in (({"base": 4}, "example 4 of 4"), ({"most": 5}, "by 1 to 4 pixels"), ({"most": 0}, "by 1 to 4 pixels")):
        with pytest.raises(vaekit.ConfigError, match=said):
            figures.shift(make(), x, **wrong)
    with pytest.raises(vaekit.ConfigError, match="all alike"):
        figures.shift(make(), x[:1].repeat(4, 1, 1, 1))
    with pytest.raises(vaekit.ConfigError, match="a shift is of images"):
        figures.shift(make((7,)), torch.rand(4, 7))
    model = make()
    monkeypatch.setattr(model.latent, "root", vaekit.parts.Space((2,), "sphere"))
    with pytest.raises(vaekit.ConfigError, match="a space of sphere"):
        figures.shift(model, x)


def test_a_loop_passes_every_example_and_joins_its_ends(make, tmp_path) -> None:
    model = make()
    x = torch.rand(3, 1, 6, 5)
    frames = figures.loop(model, x, steps=6)
    assert len(frames) == 18
    for i, image in enumerate(model.reconstruct(x)):
        assert (frames[6 * i] == figures.grid(image[None], 1)).all()
    assert (frames[-1] == figures.grid(model.interpolate(x[2], x[0], 7)[5:6], 1)).all()  # one step before the first
    with pytest.raises(vaekit.ConfigError, match="way through 1 examples"):
        figures.loop(model, x[:1])

    grey = [np.full((6, 5), 10 * i, dtype=np.uint8) for i in range(18)]  # no two alike, which a GIF would take for one
    path = figures.save_gif(grey, tmp_path / "loop.gif", seconds=1.8, at_least=112, back=False, rests=(0, 6, 12))
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (18, (95, 114), 0)
        stays = []
        for i in range(18):
            gif.seek(i)
            stays.append(gif.info["duration"])
    assert stays == [600 if i % 6 == 0 else 100 for i in range(18)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    training = {"epochs": 2, "output": tmp_path_factory.mktemp("runs"), "progress": False}
    data_options = {"validation": 1500, "test": 90}
    return vaekit.fit("digits", latent={"features": 3}, data_options=data_options, **training).path


def test_the_command_writes_what_applies_and_says_what_does_not(trained, tmp_path) -> None:
    from typer.testing import CliRunner

    from vaekit.cli import app

    result = CliRunner().invoke(app, ["figures", str(trained), "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    written = result.stdout.split()
    assert {path.rpartition("/")[2] for path in written} == {
        *("curves.png", "samples.png", "reconstructions.png", "interpolation.png", "arithmetic.png", "codes.png", "tsne.png"),
        *("thumbnails.png", "traversals.png", "kl.png", "kl-surface.png", "rate-distortion.png"),
        *("shift.png", "interpolation.gif"),
    }
    for path in written:
        with Image.open(path) as image:
            assert image.format == path[-3:].upper()
            assert max(image.size) >= 160
            image.load()
    assert "no manifold: a manifold is of two real latent dimensions" in result.stderr
    assert "no classes: " in result.stderr


def test_the_command_refuses_wrong_names_before_any_work(trained, tmp_path) -> None:
    from typer.testing import CliRunner

    from vaekit.cli import app

    result = CliRunner().invoke(app, ["figures", "nowhere", "--only", "kl,manifolds"])
    assert isinstance(result.exception, vaekit.ConfigError)
    assert str(result.exception).startswith("no figure 'manifolds'; did you mean 'manifold'? (there are: curves, ")
    result = CliRunner().invoke(app, ["figures", str(trained), "--only", "manifold", "--output", str(tmp_path / "none")])
    assert "none of these figures" in str(result.exception)
    assert not (tmp_path / "none").exists()


def test_the_command_begins_from_the_example_and_at_the_perplexity_asked_for(trained, tmp_path, monkeypatch) -> None:
    from typer.testing import CliRunner

    from vaekit.cli import app

    titles = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: titles.update({path.stem: figure.axes[0].get_title()}))
    asked = ["figures", str(trained), "--only", "tsne,traversals,shift", "--output", str(tmp_path)]
    result = CliRunner().invoke(app, [*asked, "--example", "89", "--perplexity", "12"])
    assert result.exit_code == 0, result.output
    assert "perplexity 12, seed 0" in titles["tsne"]
    assert titles["traversals"].startswith("Example 89,")
    assert titles["shift"].startswith("Example 89 moved")
    CliRunner().invoke(app, [*asked, "--perplexity", "500"])
    assert "perplexity 29," in titles["tsne"]  # a third of 90 examples, rounded down
    titles.clear()
    result = CliRunner().invoke(app, [*asked, "--example", "90"])
    assert str(result.exception) == "there is no example 90: the test set has 90, 0 to 89"
    assert not titles


def test_of_many_examples_some_are_shown_and_the_one_asked_for(trained, tmp_path, monkeypatch) -> None:
    """They are drawn by the same seed from the whole test set, which may be sorted by class."""
    from typer.testing import CliRunner

    from vaekit import inputs
    from vaekit.cli import app, pictures
    from vaekit.data.subset import some

    monkeypatch.setattr(pictures, "_MOST", 20)
    model = vaekit.load(trained)
    everything, _ = next(iter(Batches(inputs.data_of(str(trained), model).test, 90)))
    for example in (int(some(90, 20)[7]), 0, 89):
        x, y, _, place = pictures._test(str(trained), model, None, None, example)
        assert len(x) == len(y) == 20
        assert torch.equal(x[place], everything[example])
        assert sum(bool((everything[i] == x).flatten(1).all(1).any()) for i in some(90, 20)) >= 19
    titles = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: titles.update({path.stem: figure.axes[0].get_title()}))
    asked = ["figures", str(trained), "--only", "traversals,shift", "--output", str(tmp_path), "--example", "89"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert titles["traversals"].startswith("Example 89,")
    assert titles["shift"].startswith("Example 89 moved")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gif", "--output", "x.png"], "'x.png': an animation is a .gif file"),
        (["--gif", "--output", "x"], "'x': an animation is a .gif file"),
        (["--output", "x.gif"], "'x.gif': --gif writes an animation"),
    ],
    ids=" ".join,
)
def test_an_animation_is_a_gif_before_any_work(arguments, said, tmp_path, monkeypatch) -> None:
    from typer.testing import CliRunner

    from vaekit.cli import app

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["interpolate", "nowhere", "0", "1", *arguments])
    assert str(result.exception) == said
    assert not any(tmp_path.iterdir())


def test_the_way_leads_through_other_classes_first() -> None:
    from vaekit.cli.pictures import _Shown

    def others(y, example, n, count=6):
        return _Shown(None, torch.zeros(count), y, (), [], 0, example, example, 30.0).others(n)

    y = torch.tensor([5, 5, 1, 5, 7, 1])
    assert others(y, 0, 4) == [0, 2, 4, 1]
    assert others(y, 3, 3) == [3, 4, 5]
    assert others(y, 3, 2) == [3, 4]
    assert others(None, 4, 4) == [4, 5, 0, 1]
    assert others(torch.zeros(2), 1, 4, 2) == [1, 0]
    with pytest.raises(vaekit.ConfigError, match="between two examples"):
        others(None, 0, 2, 1)
