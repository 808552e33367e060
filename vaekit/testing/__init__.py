"""The conformance suite: what every part and data set is held to, ours and those of strangers.

    from vaekit.testing import parametrize_with_checks

    @parametrize_with_checks([MyEncoder, (MyEncoder, {"features": 7})])
    def test_conformance(check):
        check()

A check that a part cannot pass is declared on the part, with the reason: `expected_failures = {"overfits-eight-points": "…"}`.
It must then fail. `vaekit check` runs the same from the command line.
"""

from vaekit.testing.benches import SHAPES
from vaekit.testing.outcomes import CheckFailed, NotApplicable
from vaekit.testing.suite import Check, checks_for, parametrize_with_checks

__all__ = ["SHAPES", "Check", "CheckFailed", "NotApplicable", "checks_for", "parametrize_with_checks"]
