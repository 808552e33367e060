"""The parts keep every promise of their interfaces."""

from vaekit_manifolds import Hyperspherical, Poincare, Uniform, WrappedNormal

from vaekit.testing import parametrize_with_checks


@parametrize_with_checks(
    [
        Hyperspherical,
        Uniform,
        Poincare,
        (Poincare, {"features": 2, "curvature": 0.3, "chart": "tangent"}),
        WrappedNormal,
        (WrappedNormal, {"curvature": 2.0, "scale": 0.5, "learned": True}),
    ]
)
def test_conformance(check) -> None:
    check()
