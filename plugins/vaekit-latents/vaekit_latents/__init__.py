"""Latents beside the diagonal Gaussian, as a vaekit plugin."""

import vaekit
from vaekit_latents.categorical import Categorical
from vaekit_latents.full_gaussian import FullGaussian
from vaekit_latents.grid_gaussian import GridGaussian
from vaekit_latents.joint import Joint
from vaekit_latents.ladder import Ladder
from vaekit_latents.point import Point
from vaekit_latents.relaxed_prior import RelaxedCategorical


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [Point, FullGaussian, GridGaussian, Categorical, Joint, Ladder, RelaxedCategorical]
