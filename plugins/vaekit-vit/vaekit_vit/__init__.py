"""A vision transformer as an encoder, as a vaekit plugin."""

import vaekit
from vaekit_vit.encoder import ViTEncoder


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [ViTEncoder]
