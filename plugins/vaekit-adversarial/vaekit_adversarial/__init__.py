"""Losses with a discriminator, as a vaekit plugin."""

import vaekit
from vaekit_adversarial.factor import Factor
from vaekit_adversarial.vae_gan import VAEGAN
from vaekit_adversarial.wae_gan import WAEGAN


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [Factor, VAEGAN, WAEGAN]
