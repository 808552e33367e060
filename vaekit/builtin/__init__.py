"""The textbook variational autoencoder and the usual data sets, through the same door as any other plugin."""

import vaekit
from vaekit.builtin.arrays import IDX, NPY, NPZ
from vaekit.builtin.bernoulli import Bernoulli
from vaekit.builtin.elbo import ELBO
from vaekit.builtin.folder import FOLDER
from vaekit.builtin.gaussian import Gaussian
from vaekit.builtin.hub import HUB
from vaekit.builtin.images import DIGITS, TORCHVISION
from vaekit.builtin.mlp import MLPDecoder, MLPEncoder
from vaekit.builtin.normal import StandardNormal
from vaekit.builtin.sprites import SPRITES
from vaekit.builtin.unconditional import Unconditional


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [Unconditional, MLPEncoder, Gaussian, StandardNormal, Bernoulli, MLPDecoder, ELBO]


@vaekit.hookimpl
def vaekit_datasets() -> list[vaekit.DataSet]:
    return [DIGITS, SPRITES, *TORCHVISION, FOLDER, NPY, NPZ, IDX, HUB]
