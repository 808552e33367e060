"""The losses keep every promise of their interface."""

import pytest
from vaekit_losses import CIWAE, DIP, IWAE, MIWAE, MSSSIM, PIWAE, RAE, WAEMMD, BetaTC, DReG, Info, PriorNLL

from vaekit.testing import CheckFailed, checks_for, parametrize_with_checks

OF_EACH_RANK = [(3, 7, 5), (1, 1), (5,)]
"""All but one see of the data only what the model makes of them."""


@parametrize_with_checks([IWAE, MIWAE, CIWAE, PIWAE, DReG, BetaTC, DIP, Info, WAEMMD, RAE, PriorNLL], shapes=OF_EACH_RANK)
def test_conformance(check) -> None:
    check()


@parametrize_with_checks([MSSSIM])
def test_conformance_on_images_of_every_size(check) -> None:
    check()


OTHERWISE = [
    (BetaTC, {"estimator": "stratified"}),
    (DIP, {"kind": "ii"}),
    (Info, {"alpha": 1.0}),
    (RAE, {"penalty": "gradient"}),
    (RAE, {"penalty": "none"}),
    (WAEMMD, {"kernel": "rbf"}),
]


@parametrize_with_checks(
    OTHERWISE, shapes=OF_EACH_RANK, without=["registers", "docstring", "bounds", "imports-cleanly", "overfits-eight-points"]
)
def test_conformance_in_other_ways(check) -> None:
    check()


def test_with_many_draws_the_code_alone_reconstructs_poorly() -> None:
    """One draw of many has to fit: posteriors become wide, though log p(x) is higher."""
    found = {check.name: check for check in checks_for(IWAE, {"samples": 200}, shapes=[(3, 7, 5)])}
    with pytest.raises(CheckFailed):
        found["overfits-eight-points"]()
    for name in ("terms-are-finite", "parts-are-in-nats", "gradients", "bf16-autocast"):
        found[name]()
