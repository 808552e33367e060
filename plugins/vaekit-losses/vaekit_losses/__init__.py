"""Losses beside the ELBO, as a vaekit plugin."""

import vaekit
from vaekit_losses.iwae import IWAE


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [IWAE]
