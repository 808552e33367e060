"""The data set and the part keep every promise of their interfaces."""

from vaekit.testing import parametrize_with_checks

from vaekit_rings import RINGS, RadialEncoder


@parametrize_with_checks([RINGS, RadialEncoder])
def test_conformance(check):
    check()
