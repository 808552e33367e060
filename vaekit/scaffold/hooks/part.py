"""Encoder `example`, as a vaekit plugin."""

import vaekit
from vaekit.scaffold.parts.encoder import ExampleEncoder


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [ExampleEncoder]
