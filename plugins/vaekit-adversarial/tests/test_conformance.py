"""The losses keep every promise of their interface."""

from vaekit_adversarial import VAEGAN, WAEGAN, Factor

from vaekit.testing import parametrize_with_checks


@parametrize_with_checks([Factor, WAEGAN, VAEGAN])
def test_conformance(check) -> None:
    check()
