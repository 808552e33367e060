"""Measures of disentanglement, against codes whose scores are known; and the sprites."""

import math
import re

import numpy as np
import pytest
import torch

from vaekit import ConfigError, DataError
from vaekit.builtin.sprites import sprites
from vaekit.metrics.factors import Groups, beta_vae_score, dci, factor_vae_score, mig, sap

N = 3000
VALUES = (3, 4, 6, 10)
F = len(VALUES)
CEILING = 1 - sum(1 / k for k in VALUES) / F  # of SAP, because the second best code can guess
CHANCE = 1 / F

_rng = np.random.default_rng(0)
FACTORS = np.stack([_rng.integers(0, k, N) for k in VALUES], 1)
IDENTITY = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
NOISE = _rng.standard_normal((N, 6))
ROTATION = np.linalg.qr(_rng.standard_normal((F, F)))[0]
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2

METRICS = {
    "mig": mig,
    "sap": sap,
    "disentanglement": lambda z, v, **options: dci(z, v, **options)["disentanglement"],
    "completeness": lambda z, v, **options: dci(z, v, **options)["completeness"],
    "informativeness": lambda z, v, **options: dci(z, v, **options)["informativeness"],
    "beta-vae": lambda z, v, **options: beta_vae_score(Groups.of(z, v), **options),
    "factor-vae": lambda z, v, **options: factor_vae_score(Groups.of(z, v), **options),
}
ONE_OF_EACH = ("mig", "sap", "disentanglement", "beta-vae", "factor-vae")
CODES = {
    "identity": IDENTITY,
    "noisy": IDENTITY + 0.03 * NOISE[:, :F],
    "permuted": IDENTITY[:, [2, 0, 3, 1]],
    "affine": IDENTITY * [-3, 0.5, 10, -1] + [0, 7, -100, 1],
    "with noise": np.hstack([NOISE, IDENTITY]),
    "with dead codes": np.hstack([0.01 * NOISE, IDENTITY, np.full((N, 1), 0.1)]),
    "constant": np.full((N, F), 0.1),
    "noise": NOISE,
    "duplicated": np.hstack([IDENTITY, -2 * IDENTITY]),
    "rotated": IDENTITY @ ROTATION,
    "mixed": IDENTITY @ HADAMARD,  # every code has as much of every factor
    "merged": np.column_stack([FACTORS[:, 0] * 4 + FACTORS[:, 1], FACTORS[:, 2:]]),
    "single": IDENTITY[:, 3:],
}
BOUNDS = {  # of what is promised: the lowest and the highest score
    "identity": {"mig": (0.99, 1), "sap": (CEILING - 0.03, CEILING)} | dict.fromkeys([*METRICS][2:], (0.99, 1)),
    "noisy": {"mig": (0.97, 1), "sap": (CEILING - 0.03, CEILING)} | dict.fromkeys([*METRICS][2:], (0.97, 1)),
    "constant": {
        "mig": (0, 0),
        "sap": (0, 0),
        "disentanglement": (0, 0),
        "completeness": (0, 0),
        "informativeness": (0.1, 0.25),  # the mean of 1 / K is 0.21
        "beta-vae": (CHANCE, CHANCE),
        "factor-vae": (CHANCE, CHANCE),
    },
    "noise": {
        "mig": (0, 0.01),
        "sap": (0, 0.02),
        "disentanglement": (0, 0.02),
        "completeness": (0, 0.02),
        "informativeness": (0.15, 0.27),
        "beta-vae": (CHANCE - 0.03, CHANCE + 0.03),
        "factor-vae": (CHANCE - 0.03, CHANCE + 0.03),
    },
    "duplicated": {
        "mig": (0, 0.01),
        "sap": (0, 0.01),
        "disentanglement": (0.99, 1),
        "completeness": (0.6, 1 - math.log(2) / math.log(2 * F) + 0.02),  # two of eight codes, alike important
        "beta-vae": (0.99, 1),
        "factor-vae": (0.99, 1),
    },
    "rotated": {"mig": (0, 0.4), "sap": (0, 0.3), "disentanglement": (0, 0.5), "completeness": (0, 0.5)},
    "mixed": {"mig": (0, 0.1), "sap": (0, 0.1), "disentanglement": (0, 0.2), "completeness": (0, 0.2)},
    "merged": {
        "mig": (0.97, 1),  # as the paper has it: each factor has one code
        "disentanglement": (0.5, 0.9),
        "completeness": (0.97, 1),
        "beta-vae": (0.97, 1),
        "factor-vae": (0.75, 0.76),  # one code can stand for one factor: three of four
    },
    "single": {"mig": (0.24, 0.26), "sap": (0.2, 0.25), "disentanglement": (0, 0.01), "completeness": (1, 1)},
}
for _same in ("permuted", "affine", "with noise", "with dead codes"):
    BOUNDS[_same] = {**BOUNDS["identity"], "mig": (0.98, 1)}


@pytest.mark.parametrize(("codes", "metric"), [(codes, metric) for codes in BOUNDS for metric in BOUNDS[codes]])
def test_codes_score_what_they_are_known_to(codes: str, metric: str) -> None:
    low, high = BOUNDS[codes][metric]
    score = METRICS[metric](CODES[codes], FACTORS)
    assert type(score) is float
    assert low - 1e-12 <= score <= high + 1e-12


@pytest.mark.parametrize("metric", ONE_OF_EACH)
def test_neither_the_order_nor_an_affine_map_of_codes_matters(metric: str) -> None:
    codes = IDENTITY @ (np.eye(F) + 0.4 * ROTATION)
    score = METRICS[metric](codes, FACTORS)
    near = pytest.approx(score, abs=1e-9 if metric == "mig" else 0.03)
    assert METRICS[metric](codes[:, ::-1], FACTORS) == near
    assert METRICS[metric](codes * [3, 0.5, 1e4, 2] + [0, 7, -1e6, 1], FACTORS) == near
    assert METRICS[metric](-codes, FACTORS) == near


@pytest.mark.parametrize("metric", ONE_OF_EACH)
def test_a_seed_decides_and_nothing_else(metric: str) -> None:
    codes = IDENTITY @ ROTATION
    options = {} if metric == "mig" else {"seed": 3}
    first = METRICS[metric](codes, FACTORS, **options)
    before = np.random.get_state()[1:3]
    assert METRICS[metric](torch.tensor(codes, requires_grad=True), torch.tensor(FACTORS), **options) == first
    assert METRICS[metric](codes, FACTORS * 7 - 3, **options) == first  # what the values are called
    if options:
        assert METRICS[metric](codes, FACTORS, seed=4) == pytest.approx(first, abs=0.1)
    after = np.random.get_state()[1:3]
    assert after[1] == before[1]
    assert np.array_equal(after[0], before[0])


def test_mig_by_hand() -> None:
    factor = np.repeat([0, 1], 20)[:, None]
    half = np.r_[np.zeros(30), np.ones(10)]  # all of the first value and half of the second
    says = 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * math.log(2)
    nothing = np.tile([0.0, 1], 20)
    assert mig(np.column_stack([half, nothing]), factor) == pytest.approx(says / math.log(2))
    assert mig(np.column_stack([nothing, half]), factor, bins=2) == pytest.approx(says / math.log(2))
    assert mig(np.column_stack([half, factor]), factor) == pytest.approx(1 - says / math.log(2))
    assert mig(half[:, None], factor) == pytest.approx(says / math.log(2))


def test_fewer_bins_than_values_lower_mig() -> None:
    assert mig(IDENTITY, FACTORS, bins=2) < 0.7 < 0.99 < mig(IDENTITY, FACTORS, bins=10)


def test_groups_share_a_value_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    groups = Groups.of(FACTORS, FACTORS)  # the codes are the factors
    for k in range(F):
        drawn = groups.draw(k, 3000, 8, rng)
        assert (drawn[:, :, k] == drawn[:, :1, k]).all()
        for other in range(F):
            found = np.bincount(drawn[:, :, other].astype(int).ravel()) / 24_000
            assert found == pytest.approx(np.bincount(FACTORS[:, other]) / N, abs=0.04)
            assert other == k or (drawn[:, 0, other] != drawn[:, 1, other]).mean() == pytest.approx(
                1 - 1 / VALUES[other], abs=0.05
            )
    assert groups.draw(None, 5, 7, rng).shape == (5, 7, F)


def test_groups_leave_out_values_that_few_examples_have() -> None:
    factors = np.column_stack([np.r_[np.zeros(60), np.ones(31), np.full(9, 2)], np.arange(100) % 2]).astype(int)
    drawn = Groups.of(factors, factors).draw(0, 500, 4, np.random.default_rng(0))
    assert set(drawn[:, :, 0].ravel()) == {0, 1}


@pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score])
def test_a_generator_stands_for_a_data_set(score) -> None:
    def draw(factor, groups, size, rng):
        v = rng.random((groups, size, 3))
        if factor is not None:
            v[:, :, factor] = rng.random((groups, 1))
        return v

    assert score(Groups(draw, 3)) > 0.99
    assert score(Groups(lambda *given: draw(None, *given[1:]), 3)) == pytest.approx(1 / 3, abs=0.03)
    wrong = "codes drawn have shape (64, 1, 3): finite numbers of shape (1, 10000, D) are wanted"
    with pytest.raises(DataError, match=re.escape(wrong)):
        score(Groups(lambda *given: draw(None, 64, 1, given[-1]), 3))


def test_codes_on_another_scale_are_dead_unless_it_is_said() -> None:
    groups = Groups.of(IDENTITY / 1000, FACTORS)
    assert factor_vae_score(groups) == CHANCE
    assert factor_vae_score(groups, dead=0) > 0.99


@pytest.mark.parametrize("metric", ["mig", "sap", "disentanglement", "completeness"])
def test_one_factor_is_measured(metric: str) -> None:
    perfect = 1 - 1 / 10 if metric == "sap" else 1
    assert METRICS[metric](IDENTITY[:, 3:], FACTORS[:, 3:]) == pytest.approx(perfect, abs=0.03)


REFUSED = {
    "codes have shape (3000,) and factors (3000, 4): give (N, D) and (N, F) of the same N examples": (IDENTITY[:, 0], FACTORS),
    "codes have shape (10, 4) and factors (3000, 4): give": (IDENTITY[:10], FACTORS),
    "codes have shape (3000, 0) and factors": (IDENTITY[:, :0], FACTORS),
    "codes have shape (0, 4) and factors (0, 4)": (IDENTITY[:0], FACTORS[:0]),
    "factors are of torch.float64: give class numbers, which are integers": (IDENTITY, IDENTITY),
    "code 1 of example 0 is nan: give finite numbers": (IDENTITY * [1, math.nan, 1, 1], FACTORS),
    "factor 2 is 5 in all 3000 examples: leave out what does not vary": (IDENTITY, np.where(np.arange(F) == 2, 5, FACTORS)),
    "factor 3 has 10 values in 99 examples: give at least 100 examples, 10 a value, or join values": (
        IDENTITY[:99],
        FACTORS[:99],
    ),
    "what is given as codes is no array of numbers": ([["a"]], FACTORS),
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.parametrize("metric", ["mig", "sap", "disentanglement", "beta-vae"])
def test_what_cannot_be_measured_is_refused(metric: str, message: str) -> None:
    with pytest.raises(DataError, match="^" + re.escape(message)):
        METRICS[metric](*REFUSED[message])


@pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score])
def test_one_factor_cannot_be_told_from_others(score) -> None:
    with pytest.raises(DataError, match="there is one factor: at least 2 are needed"):
        score(Groups.of(IDENTITY, FACTORS[:, :1]))


@pytest.mark.parametrize(
    ("metric", "option", "least"),
    [("mig", "bins", 2), ("completeness", "trees", 1), ("beta-vae", "pairs", 1), ("factor-vae", "size", 2)],
)
def test_options_have_a_least_value(metric: str, option: str, least: int) -> None:
    METRICS[metric](IDENTITY, FACTORS, **{option: least})
    with pytest.raises(ConfigError, match=f"{option} is {least - 1}: at least {least} is needed"):
        METRICS[metric](IDENTITY, FACTORS, **{option: least - 1})


IMAGES, SPRITES, NAMES = sprites()
GRID = (IMAGES[:, 0] > 0).reshape(*NAMES.values(), 32, 32)


def _centre(axis: int) -> np.ndarray:
    """Of mass along the columns (0) or the rows (1) of every image, in pixels."""
    return (GRID.sum(5 + axis) * np.arange(32)).sum(-1) / GRID.sum((-2, -1))


def test_sprites_are_every_combination_once() -> None:
    n = math.prod(NAMES.values())
    assert NAMES == {"shape": 3, "scale": 4, "rotation": 12, "x": 12, "y": 12}
    assert (IMAGES.shape, IMAGES.dtype, SPRITES.shape, SPRITES.dtype) == ((n, 1, 32, 32), np.uint8, (n, 5), np.int64)
    assert np.array_equal(np.ravel_multi_index(tuple(SPRITES.T), tuple(NAMES.values())), np.arange(n))
    assert set(np.unique(IMAGES)) == {0, 255}
    again = sprites()
    assert np.array_equal(again[0], IMAGES)
    assert np.array_equal(again[1], SPRITES)
    assert IMAGES.flags.writeable


def test_sprites_are_different_but_for_symmetry() -> None:
    kept = np.packbits(GRID, axis=None).reshape(len(IMAGES), -1)
    different = [len(np.unique(kept[SPRITES[:, 0] == shape], axis=0)) for shape in range(3)]
    assert different == [len(IMAGES) // 3 // 4, len(IMAGES) // 3 // 2, len(IMAGES) // 3]
    assert len(np.unique(kept, axis=0)) == sum(different) == 12_096
    for shape, turn in enumerate((3, 6, 12)):
        assert np.array_equal(GRID[shape], np.roll(GRID[shape], turn, axis=1))


def test_a_position_moves_a_sprite_along_one_axis() -> None:
    across, down = _centre(0), _centre(1)
    assert np.allclose(np.diff(across, axis=3), 1)
    assert np.allclose(np.diff(across, axis=4), 0)
    assert np.allclose(np.diff(down, axis=4), 1)
    assert np.allclose(np.diff(down, axis=3), 0)
    assert np.array_equal(GRID[..., :-1, :, :, :-1], GRID[..., 1:, :, :, 1:])  # nothing is cut off


def test_scale_changes_the_area_and_neither_shape_nor_rotation_does() -> None:
    area = GRID.sum((-2, -1))
    assert (np.diff(area, axis=1) > 20).all()
    wanted = 174 * np.linspace(0.5, 1, 4) ** 2
    assert np.allclose(area, wanted[:, None, None, None], rtol=0.13)
    middle = np.arange(12) + 10
    assert np.abs(_centre(0) - middle[:, None]).max() < 0.5
    assert np.abs(_centre(1) - middle).max() < 0.5


def test_rotation_turns_anticlockwise() -> None:
    one = GRID[..., 6, 6, 6:27, 6:27]  # the sprite's centre in the middle
    assert np.array_equal(np.rot90(one, axes=(-2, -1)), np.roll(one, -3, axis=2))
    heart = one[2, 3, 0]
    assert np.array_equal(heart, heart[:, ::-1])
    rows = np.flatnonzero(heart.any(1))
    assert not heart[rows[0], 10]  # the notch
    assert heart[rows[-1]].sum() < 4 < 12 < heart.sum(1).max()  # the tip


def test_the_factors_of_sprites_are_found_in_what_is_measured_of_them() -> None:
    codes = np.column_stack([SPRITES[:, 0], GRID.sum((-2, -1)).ravel(), _centre(0).ravel(), _centre(1).ravel()])
    chosen = np.random.default_rng(0).permutation(len(codes))[:3000]
    known = SPRITES[chosen][:, [0, 1, 3, 4]]
    assert mig(codes[chosen], known) > 0.85
    assert dci(codes[chosen], known)["completeness"] > 0.9
    assert factor_vae_score(Groups.of(codes[chosen], known)) > 0.97
