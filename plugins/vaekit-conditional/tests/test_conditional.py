"""Labels as context, and the prior that depends on them."""

import numpy as np
import pytest
import torch
from vaekit_conditional import ConditionalNormal, Labels

import vaekit
from vaekit.testing import parametrize_with_checks

NAMES = ("cat", "dog", "7")


@parametrize_with_checks(
    [Labels, (Labels, {"encoding": "embedding"}), ConditionalNormal, (ConditionalNormal, {"hidden": (8, 8)})]
)
def test_conformance(check) -> None:
    check()


def test_one_hot_and_embedding() -> None:
    y = torch.tensor([2, 0])
    assert Labels(classes=3)(y, 2).tolist() == [[0, 0, 1], [1, 0, 0]]
    part = Labels(classes=3, encoding="embedding", features=5)
    assert part(y, 2).shape == (2, *part.out_shape) == (2, 5)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (1, [1, 1]),
        ("dog", [1, 1]),
        ([0, "cat"], [0, 0]),
        ("7", [2, 2]),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(2), [2, 2]),
        (np.array([1, 0]), [1, 0]),
        (np.int64(1), [1, 1]),
    ],
    ids=repr,
)
def test_labels_as_people_give_them(given, want: list[int]) -> None:
    assert Labels(classes=3).parse(given, 2, NAMES).tolist() == want


@pytest.mark.parametrize(
    "given", [None, 3, -1, True, "bird", 1.0, [0], [0, 1, 2], {}, [None, 0], torch.tensor([0.5, 0.25])], ids=repr
)
def test_labels_that_are_none(given) -> None:
    part = Labels(classes=3)
    if given == [0]:
        assert part.parse(given, 2, NAMES).tolist() == [0, 0]
        return
    with pytest.raises(vaekit.ConfigError, match=r"one of 3 classes \(cat, dog, 7\)|labels for 2 examples"):
        part.parse(given, 2, NAMES)


@pytest.mark.parametrize("given", ["9" * 10_000, "x" * 10_000])
def test_what_is_far_too_long_is_no_class(given) -> None:
    with pytest.raises(vaekit.ConfigError) as refused:
        Labels(classes=3).parse(given, 1, NAMES)
    assert len(str(refused.value)) < 250


def test_without_names_numbers_may_be_text() -> None:
    assert Labels(classes=3).parse("2", 1, ()).tolist() == [2]


def test_names_come_before_numbers() -> None:
    part = Labels(classes=2)
    assert part.parse("1", 1, ("3", "1")).tolist() == [1]
    assert part.parse("0", 1, ("3", "1")).tolist() == [0]


def test_an_interpolation_takes_the_labels_of_both_ends() -> None:
    model, _ = vaekit.build({"data_shape": (1, 4, 4), "context": {"name": "labels", "classes": 3}})
    model.eval()
    a, b = torch.rand(2, 1, 4, 4)
    way = model.interpolate(a, b, 5, y=[0, 2])
    torch.testing.assert_close(way[0], model.reconstruct(a[None], 0)[0])
    torch.testing.assert_close(way[-1], model.reconstruct(b[None], 2)[0])
    torch.testing.assert_close(model.interpolate(a, b, 5, y=1)[-1], model.reconstruct(b[None], 1)[0])


def test_draws_are_even_over_the_classes() -> None:
    counts = torch.bincount(Labels(classes=4).sample(4000), minlength=4)
    assert ((counts - 1000).abs() < 4 * (4000 * 0.25 * 0.75) ** 0.5).all()


def test_the_prior_depends_on_the_context() -> None:
    p = ConditionalNormal(vaekit.Space((3, 2, 2)), (1, 8, 8), 3)(torch.eye(3), lambda x, c: None)
    assert not torch.equal(p.mean[0], p.mean[1])


def test_what_the_prior_refuses() -> None:
    with pytest.raises(vaekit.ShapeError, match="context=labels"):
        ConditionalNormal(vaekit.Space((2,)), (4,), 0)
    with pytest.raises(vaekit.ShapeError, match="sphere"):
        ConditionalNormal(vaekit.Space((2,), "sphere"), (4,), 3)


def test_a_conditional_prior_is_learnt() -> None:
    """Two classes far apart: the posterior of each is near its own prior, not near N(0, I)."""
    model, loss = vaekit.build(
        vaekit.Config(
            data_shape=(4,),
            context={"name": "labels", "classes": 2},
            prior="conditional",
            encoder={"hidden": [16]},
            decoder={"hidden": [16]},
            latent={"features": 1},
        )
    )
    y = torch.arange(64) % 2
    x = y[:, None].float().expand(64, 4).contiguous()
    for _ in vaekit.train(model, loss, [(x, y)], epochs=150, lr=1e-2):
        pass
    model.eval()
    assert model.sample(20, y=0, seed=0).mean() < 0.2
    assert model.sample(20, y=1, seed=0).mean() > 0.8
