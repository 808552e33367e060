"""Likelihoods for data that are not binary, as a vaekit plugin."""

import vaekit
from vaekit_likelihoods.beta import Beta
from vaekit_likelihoods.categorical import Categorical
from vaekit_likelihoods.continuous_bernoulli import ContinuousBernoulli
from vaekit_likelihoods.counts import NegativeBinomial, Poisson
from vaekit_likelihoods.discretized_logistic import DiscretizedLogistic
from vaekit_likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from vaekit_likelihoods.gaussian import Gaussian
from vaekit_likelihoods.laplace import Laplace
from vaekit_likelihoods.pixelcnn import PixelCNN
from vaekit_likelihoods.student_t import Student


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [
        Gaussian,
        Laplace,
        Student,
        ContinuousBernoulli,
        Beta,
        Categorical,
        DiscretizedLogistic,
        DiscretizedLogisticMixture,
        Poisson,
        NegativeBinomial,
        PixelCNN,
    ]
