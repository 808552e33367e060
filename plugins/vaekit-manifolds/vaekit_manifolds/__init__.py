"""Latents on curved spaces, as a vaekit plugin."""

import vaekit
from vaekit_manifolds.hyperspherical import Hyperspherical
from vaekit_manifolds.poincare import Poincare
from vaekit_manifolds.uniform import Uniform
from vaekit_manifolds.wrapped_normal import WrappedNormal


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [Hyperspherical, Poincare, Uniform, WrappedNormal]
