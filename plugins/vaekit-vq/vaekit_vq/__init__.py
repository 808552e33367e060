"""Discrete latents and priors over their codes, as a vaekit plugin."""

import vaekit
from vaekit_vq.fsq import FSQ
from vaekit_vq.independent import IndependentCodes
from vaekit_vq.transformer import Transformer
from vaekit_vq.vq import VQ, ResidualVQ


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [VQ, ResidualVQ, FSQ, IndependentCodes, Transformer]
