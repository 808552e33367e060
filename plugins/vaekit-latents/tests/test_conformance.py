"""The parts keep every promise of their interface."""

from vaekit_latents import Categorical, FullGaussian, GridGaussian, Joint, Ladder, Point, RelaxedCategorical

from vaekit.testing import parametrize_with_checks

PARTS = [
    Point,
    FullGaussian,
    GridGaussian,
    (GridGaussian, {"scale": "softplus", "channels": 2, "height": 3, "width": 1}),
    Categorical,
    (Categorical, {"hard": True, "variables": 2, "classes": 3, "temperature": 0.1}),
    Joint,
    Ladder,
    (Ladder, {"features": [2, 3, 4], "activation": "tanh"}),
    RelaxedCategorical,
    (RelaxedCategorical, {"learned": True, "temperature": 1.0}),
]


@parametrize_with_checks(PARTS)
def test_conformance(check) -> None:
    check()
