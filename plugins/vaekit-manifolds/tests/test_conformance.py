"""The parts keep every promise of their interfaces."""

from vaekit_manifolds import Hyperspherical, Poincare, Uniform, WrappedNormal

from vaekit.testing import parametrize_with_checks

VARIANTS = [
    (Poincare, {"features": 2, "curvature": 0.3, "chart": "tangent"}),
    (WrappedNormal, {"curvature": 2.0, "scale": 0.5, "learned": True}),
]


@parametrize_with_checks([Hyperspherical, Uniform, Poincare, WrappedNormal])
def test_conformance(check) -> None:
    check()


@parametrize_with_checks(VARIANTS, shapes=[(1, 8, 8), (6, 4), (5,)])
def test_conformance_of_other_options(check) -> None:
    check()
