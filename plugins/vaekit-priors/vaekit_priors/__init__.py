"""Learned priors, as a vaekit plugin."""

import vaekit
from vaekit_priors.gaussians import GaussianMixture
from vaekit_priors.vamp import Vamp


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [GaussianMixture, Vamp]
