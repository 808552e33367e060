"""The parts keep every promise of their interface."""

from vaekit_latents import Categorical, FullGaussian, GridGaussian, Joint, Ladder, Point, RelaxedCategorical

from vaekit.testing import parametrize_with_checks

VARIANTS = [
    (GridGaussian, {"scale": "softplus", "channels": 2, "height": 3, "width": 1}),
    (Categorical, {"hard": True, "variables": 2, "classes": 3, "temperature": 0.1}),
    (Ladder, {"features": [2, 3, 4], "activation": "tanh"}),
    (RelaxedCategorical, {"learned": True, "temperature": 0.5}),
]


@parametrize_with_checks([Point, FullGaussian, GridGaussian, Categorical, Joint, Ladder, RelaxedCategorical])
def test_conformance(check) -> None:
    check()


@parametrize_with_checks(VARIANTS, shapes=[(1, 8, 8), (6, 4), (5,)])
def test_conformance_of_other_options(check) -> None:
    check()
