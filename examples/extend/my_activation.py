"""The activation mish, z · tanh(ln(1 + eᶻ)) (Misra 2019)."""

import numpy as np
from scipy.special import expit

from study.network.activations import Activation, register


def phi(z):
    return z * np.tanh(np.logaddexp(0, z))  # z: float64, any shape


def slope(z):
    t = np.tanh(np.logaddexp(0, z))
    return t + z * (1 - t * t) * expit(z)


register(Activation("mish", torch="torch.nn.functional.mish", phi=phi, slope=slope))
