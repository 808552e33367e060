"""Conditional models, as a vaekit plugin."""

import vaekit
from vaekit_conditional.labels import Labels
from vaekit_conditional.prior import ConditionalNormal


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [Labels, ConditionalNormal]
