"""Pictures: the right pixels in the right places."""

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from vaekit import figures


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
    with pytest.raises(vaekit.ShapeError, match="two latent dimensions"):
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
    rows = [
        {"epoch": e, "split": s, "nelbo": 9.0 / e, "reconstruction": 8.0, "kl": 1.0}
        for e in (1, 2)
        for s in ("train", "validation")
    ]
    with Image.open(figures.curves(rows, tmp_path / "c.png")) as curves:
        assert curves.width > 1000
