"""Convolutional parts for images, as a vaekit plugin."""

import vaekit
from vaekit_conv.broadcast import SpatialBroadcastDecoder
from vaekit_conv.decoder import TransposedConvDecoder
from vaekit_conv.encoder import ConvEncoder
from vaekit_conv.resnet import ResNetDecoder, ResNetEncoder


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [ConvEncoder, ResNetEncoder, ResNetDecoder, SpatialBroadcastDecoder, TransposedConvDecoder]
