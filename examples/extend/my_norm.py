"""A norm that only subtracts the mean over the units of every example, and has a bias of its own."""

from study.network.inits import ZEROS
from study.network.norms import Norm, Parameter, register


def normalise(x, params, given, options):
    return x - x.mean(2, keepdim=True) + params["bias"], None  # x: (M, N, H), bias: (M, 1, H)


register(Norm("centre", label="centring", normalise=normalise, parameters=(Parameter("bias", "cbias", ZEROS),)))
