"""Codes from the prior, and files of them from strangers."""

import io
import zipfile

import numpy as np
import pytest
from vaekit_runtime import InputError, ModelError, Predictor


def test_a_standard_normal_prior_is_drawn_from(make) -> None:
    predictor = Predictor(make().folder)
    z, c = predictor.draw(20_000, seed=0)
    assert c is None
    assert z.shape == (20_000, 3)
    assert z.dtype == np.float32
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    half, _ = predictor.draw(20_000, temperature=0.5, seed=0)
    np.testing.assert_array_equal(half, z * np.float32(0.5))
    assert not predictor.draw(2, temperature=0, seed=0)[0].any()


def test_a_seed_gives_the_same_draws_and_none_others(make) -> None:
    predictor = Predictor(make(conditional=True).folder)
    np.testing.assert_array_equal(predictor.sample(5, seed=7), predictor.sample(5, seed=7))
    assert not np.array_equal(predictor.sample(5, seed=7), predictor.sample(5, seed=8))
    assert not np.array_equal(predictor.sample(5), predictor.sample(5))


def test_samples_are_the_means_at_draws(make) -> None:
    made = make(conditional=True)
    predictor = Predictor(made.folder)
    z, c = predictor.draw(4, "dog", seed=1)
    np.testing.assert_array_equal(c, [[0, 1]] * 4)
    np.testing.assert_allclose(predictor.sample(4, "dog", seed=1), made.mean(z, [1] * 4), atol=1e-6)


def test_classes_are_drawn_evenly_where_none_is_given(make) -> None:
    _, c = Predictor(make(conditional=True).folder).draw(2000, seed=0)
    assert abs(c[:, 0].mean() - 0.5) < 0.05
    np.testing.assert_array_equal(c.sum(1), 1)


def test_of_another_prior_the_exported_draws_are_taken_and_none_twice_while_there_are_others(make) -> None:
    made = make(standard=False)
    predictor = Predictor(made.folder)
    z, _ = predictor.draw(6, seed=0)
    assert not np.array_equal(z, made.draws)
    np.testing.assert_array_equal(np.unique(z, axis=0), np.unique(made.draws, axis=0))
    many, _ = predictor.draw(15, seed=0)
    counts = [(many == one).all(1).sum() for one in made.draws]
    assert sorted(counts) == [2, 2, 2, 3, 3, 3]
    assert len(np.unique(predictor.draw(4, seed=3)[0], axis=0)) == 4


def test_of_another_prior_the_draws_of_the_class_are_taken(make) -> None:
    made = make(standard=False, conditional=True)
    predictor = Predictor(made.folder)
    for number in range(2):
        z, _ = predictor.draw(3, number, seed=0)
        np.testing.assert_array_equal(np.unique(z, axis=0), np.unique(made.draws[number::2], axis=0))
    z, c = predictor.draw(50, seed=0)
    for one, told in zip(z, c, strict=True):
        assert (made.draws[int(told[1]) :: 2] == one).all(1).any()


def test_of_another_prior_classes_are_told_and_no_contexts(make) -> None:
    c = np.eye(2, dtype=np.float32)
    with pytest.raises(InputError, match="prior 'mixture' was drawn for classes: give y as a number or a name, not c"):
        Predictor(make(standard=False, conditional=True).folder).draw(2, c)
    np.testing.assert_array_equal(Predictor(make(conditional=True).folder).draw(2, c)[1], c)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 1.5}, "n is 1.5"),
        ({"n": True}, "n is True"),
        ({"n": 1, "seed": -1}, "seed is -1"),
        ({"n": 1, "temperature": -0.1}, "temperature is -0.1"),
        ({"n": 1, "temperature": float("nan")}, "temperature is nan"),
        ({"n": 1, "temperature": "hot"}, "temperature is hot"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, asked, words) -> None:
    with pytest.raises(InputError, match=words):
        Predictor(make().folder).draw(**asked)


def test_only_a_standard_normal_prior_has_a_temperature(make) -> None:
    with pytest.raises(InputError, match="'mixture' is not standard normal: it has no temperature"):
        Predictor(make(standard=False).folder).sample(1, temperature=0.5)


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("z.npy", bytes(10**7))
    return file.getvalue()


Z, Y = np.zeros((6, 3), np.float32), np.arange(6) % 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "prior.npz is missing"),
        (b"no archive", "cannot be trusted"),
        (_npz(z=Z, y=Y)[:200], "cannot be trusted"),
        (_npz(z=Z), "no draws for each of the 2 classes"),
        (_npz(y=Y), "holds no finite z"),
        (_npz(z=Z, y=Y, more=Y), "it holds 'more.npy'"),
        (_npz(z=Z[:5], y=Y), r"z is float32 \(5, 3\), and must be float32 \(6, 3\)"),
        (_npz(z=Z[:, :2], y=Y), r"and must be float32 \(6, 3\)"),
        (_npz(z=Z.astype(np.float64), y=Y), "z is float64"),
        (_npz(z=Z + np.nan, y=Y), "holds no finite z"),
        (_npz(z=Z, y=Y * 0), "no draws for each of the 2 classes"),
        (_npz(z=Z, y=Y + 1), "no draws for each of the 2 classes"),
        (_npz(z=np.array([{}], object), y=Y), "cannot be trusted.*allow_pickle=False"),
        (_bomb(), "z has 10,000,000 bytes"),
    ],
)
def test_draws_that_cannot_be_trusted(make, content, words) -> None:
    made = make(standard=False, conditional=True)
    (made.folder / "prior.npz").unlink()
    if content is not None:
        (made.folder / "prior.npz").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        Predictor(made.folder)
    assert Predictor(made.folder / "encode.onnx").parts == ("encode",)  # which needs none


def test_a_prior_without_draws_cannot_be_sampled(make) -> None:
    prior = {"name": "mixture", "standard": False, "file": None, "draws": 0}
    predictor = Predictor(make(change=lambda document: document.update(prior=prior)).folder)
    with pytest.raises(InputError, match="there are no draws of it"):
        predictor.sample(1)
