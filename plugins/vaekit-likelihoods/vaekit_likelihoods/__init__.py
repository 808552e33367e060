"""Likelihoods for data that are not binary, as a vaekit plugin."""

import vaekit
from vaekit_likelihoods.categorical import Categorical
from vaekit_likelihoods.continuous_bernoulli import ContinuousBernoulli
from vaekit_likelihoods.discretized_logistic import DiscretizedLogistic
from vaekit_likelihoods.gaussian import Gaussian
from vaekit_likelihoods.laplace import Laplace


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [Gaussian, Laplace, ContinuousBernoulli, Categorical, DiscretizedLogistic]
