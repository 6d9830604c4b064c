"""A metric of a hidden layer: the share of its outputs that are below 0."""

from study.measurement.metrics import metric
from study.measurement.reducers import Mean


@metric(of="layer", label="outputs below 0", unit="%", format=".1f", reduce=Mean)
def below_zero(trace, layer):
    return (trace.h < 0).double().mean(-1)  # trace.h: (M, n, H) -> a share for every example, (M, n)
