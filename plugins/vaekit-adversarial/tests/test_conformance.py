"""The losses keep every promise of their interface."""

from vaekit_adversarial import VAEGAN, WAEGAN, Factor

from vaekit.testing import parametrize_with_checks


@parametrize_with_checks(
    [(Factor, {"hidden": [16]}), (WAEGAN, {"hidden": [16]}), (VAEGAN, {"width": 4, "hidden": [16]})],
    shapes=[(1, 8, 8), (6, 4), (5,)],
)
def test_conformance(check) -> None:
    check()
