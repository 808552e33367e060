"""Data set `rings` and encoder `radial`, as a vaekit plugin."""

import vaekit

from vaekit_rings.dataset import RINGS
from vaekit_rings.encoder import RadialEncoder


@vaekit.hookimpl
def vaekit_datasets() -> list[vaekit.DataSet]:
    return [RINGS]


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [RadialEncoder]
