"""Losses beside the ELBO, as a vaekit plugin."""

import vaekit
from vaekit_losses.beta_tc import BetaTC
from vaekit_losses.ciwae import CIWAE
from vaekit_losses.dip import DIP
from vaekit_losses.dreg import DReG
from vaekit_losses.info import Info
from vaekit_losses.iwae import IWAE
from vaekit_losses.miwae import MIWAE
from vaekit_losses.ms_ssim import MSSSIM
from vaekit_losses.piwae import PIWAE
from vaekit_losses.prior_nll import PriorNLL
from vaekit_losses.rae import RAE
from vaekit_losses.wae_mmd import WAEMMD


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [IWAE, MIWAE, CIWAE, PIWAE, DReG, BetaTC, DIP, Info, WAEMMD, RAE, PriorNLL, MSSSIM]
