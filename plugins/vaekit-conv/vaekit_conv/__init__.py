"""Convolutional parts for images, as a vaekit plugin."""

import vaekit
from vaekit_conv.decoder import TransposedConvDecoder
from vaekit_conv.encoder import ConvEncoder


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [ConvEncoder, TransposedConvDecoder]
