"""Predict a network before its first step without a draw: the spread of the signal, saturation and the initial loss.

All predictions are expectations over seeds. Given its input, a pre-activation is Gaussian with variance
q = |input|² · σ_w² + σ_b², because the weights are Gaussian. |embedding|² differs from context to context, so that the
pre-activations of the first layer are a mixture of Gaussians (exactly). For the layers after it, widths are assumed to
be large: |h|² = fan_in · E[φ(√q z)²] for each node of that mixture (Poole et al. 2016; Schoenholz et al. 2017).
BatchNorm sets q to 1 and ends the mixture. Squares are averaged, so that a predicted std is the root mean square over
seeds, which is slightly above the mean of measured stds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import erfc, lambertw, ndtr
from scipy.stats import chi2

from study.errors import unknown
from study.network.activations import Activation
from study.network.inits import Init
from study.network.layers import Network

Floats = NDArray[np.float64]
Repeats = Mapping[tuple[int, ...], float]  # how often each character of a context occurs in it -> share of contexts
Predicted = tuple[int, str, float, float, str]  # layer, metric, predicted, error, method

SMALL = 0.3  # the logit std up to which the closed form is used: the next term is below 1e-4 nats for V >= 27
THRESHOLDS = {"saturation_97": 0.97, "saturation_99": 0.99}
NODES = 96  # the nodes per χ² of the mixture; the error is found by a comparison with two thirds of them


def repeats(contexts: NDArray[np.integer]) -> dict[tuple[int, ...], float]:
    """The share of contexts (N, T) by pattern of repeats: `...` is (3,), `..e` and `emm` (2, 1), `emi` (1, 1, 1)."""
    unique, counts = np.unique(contexts, axis=0, return_counts=True)
    shares: Counter[tuple[int, ...]] = Counter()
    for row, count in zip(unique.tolist(), counts.tolist(), strict=True):
        shares[tuple(sorted(Counter(row).values(), reverse=True))] += count
    return {pattern: shares[pattern] / len(contexts) for pattern in sorted(shares)}


def embedding_norm(size: int, patterns: Repeats, nodes: int = NODES) -> tuple[Floats, Floats]:
    """The nodes and weights of the distribution of |embedding|² / s_C² over contexts and draws of C. Its mean is T · E.

    A character that occurs m times adds m · χ²_E. So distinct characters give χ²_{T·E}, and repeated ones give a wider
    distribution with the same mean. The integral is a trapezoid rule in t, where χ² = degrees · exp(t - exp(-t)). In t
    the density of any χ² vanishes doubly exponentially at both ends, so that the rule converges geometrically
    (Takahasi & Mori 1974).
    """
    values, weights = [], []
    for pattern, share in patterns.items():
        total, weight = np.zeros(1), np.full(1, share)
        for times, characters in sorted(Counter(pattern).items()):
            degrees = size * characters
            ends = np.log(chi2.ppf(1e-15, degrees) / degrees), np.log(chi2.isf(1e-15, degrees) / degrees)
            low, high = (log + lambertw(math.exp(-log)).real for log in ends)  # t of t - exp(-t) = log
            t = np.linspace(low, high, nodes)
            square = degrees * np.exp(t - np.exp(-t))
            density = chi2.pdf(square, degrees) * square * (1 + np.exp(-t))
            total = np.add.outer(total, times * square).ravel()
            weight = np.outer(weight, density / density.sum()).ravel()
            total, weight = _thin(total, weight, 8 * nodes)  # without this, four kinds of repeats would make 10⁸ nodes
        values.append(total)
        weights.append(weight)
    return _thin(np.concatenate(values), np.concatenate(weights), 8 * nodes)


def _thin(values: Floats, weights: Floats, bins: int) -> tuple[Floats, Floats]:
    """Merge nodes whose log values are near each other into at most `bins` nodes. Total weight and mean stay."""
    log = np.log(np.maximum(values, 1e-7 * values.max()))  # smaller values matter only by their total
    place = np.floor((log - log.min()) / (np.ptp(log) or 1.0) * (bins - 1)).astype(int)
    mass = np.bincount(place, weights)
    mean = np.bincount(place, weights * values) / np.where(mass > 0, mass, 1.0)
    return np.asarray(mean[mass > 0], float), np.asarray(mass[mass > 0], float)


def _tanh_moments(q: Floats) -> tuple[Floats, Floats]:
    """E[tanh²(√q z)] and E[1 - tanh²(√q z)] for standard normal z, to rounding, at any q.

    The integral is a trapezoid rule on 0 ≤ z ≤ min(9, 20/√q). Beyond it the Gaussian or 1 - tanh² is below 1e-16, and
    the step is far below the distance π / (2√q) to the nearest pole of tanh.
    """
    root = np.sqrt(q)[:, None]
    end = 20 / np.maximum(root, 20 / 9)
    z = np.linspace(0, 1, 201) * end
    step = end / 200 * np.where(np.arange(201) % 200, 2, 1) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    passed = (step / np.cosh(root * z) ** 2).sum(1)
    squared = (step * np.tanh(root * z) ** 2).sum(1)
    return np.where(q < 1, squared, 1 - passed), passed


def moments(q: Floats, activation: Activation) -> tuple[Floats, Floats, Floats]:
    """E[h], E[h²] and E[φ'] of h = φ(√q z) for standard normal z.

    They are closed forms for relu (He et al. 2015) and linear.
    """
    match activation:
        case "tanh":
            squared, passed = _tanh_moments(q)
            return np.zeros_like(q), squared, passed
        case "relu":  # at q = 0 every unit is at the kink, where the derivative is taken as 0
            return np.sqrt(q / (2 * math.pi)), q / 2, np.where(q > 0, 0.5, 0.0)
        case "linear":
            return np.zeros_like(q), q, np.ones_like(q)
        case _:
            unknown(activation)


def saturation(q: Floats, threshold: float) -> Floats:
    """The share of units with |tanh(√q z)| > threshold: P(|z| > artanh(threshold) / √q)."""
    with np.errstate(divide="ignore"):
        return np.asarray(erfc(math.atanh(threshold) / np.sqrt(2 * q)))


def log_sum_exp(std: float, classes: int) -> float:
    """The expectation E log Σ exp(z) in nats over `classes` independent z ~ N(0, std²).

    log Σ exp(z) + γ is the mean of max(z + g) over standard Gumbel g (Gumbel 1954). With F the distribution of z + g,
    the expectation is therefore ∫ Φ(u / scale) - F(u)^classes du - γ, for any scale. F and the integral are trapezoid
    sums of functions that are analytic around the real line and vanish at both ends, so that they are exact to about
    1e-12 of the result.
    """
    # F is the convolution of a Gaussian and a Gumbel. The wider of the two is evaluated in closed form.
    if std >= 1:
        shift = np.arange(-4.0, 40.0, 0.1)
        weight = np.exp(-shift - np.exp(-shift))
    else:
        z = np.arange(-9.0, 9.0, 0.1)
        shift, weight = std * z, np.exp(-z * z / 2)
    scale = math.hypot(std, 1.0)
    u = np.arange(-9 * scale - 4, 9 * scale + 40 + math.log(classes), 0.1 * scale)
    gap = u[:, None] - shift
    cdf = (ndtr(gap / std) if std >= 1 else np.exp(-np.exp(-gap))) @ (weight / weight.sum())
    return float((ndtr(u / scale) - cdf**classes).sum() * 0.1 * scale - np.euler_gamma)


def initial_loss(variance: Floats, weights: Floats, classes: int, nodes: int = NODES) -> tuple[float, float, str]:
    """The expected loss in nats, its error and its method, for logits N(0, variance) in a share `weights` of examples.

    For every label the label's own logit has mean 0 over seeds, so that the loss is E log Σ exp(z). For small s it is
    ln V + s²/2 · (1 - 1/V), and the next term, -s⁴/4 · (1 - 1/V) / V, is the error.
    """
    if not np.isfinite(variance).all():
        return math.nan, math.nan, "undefined"
    mean, rest = float(weights @ variance), 1 - 1 / classes
    if mean <= SMALL**2:
        following = float(weights @ variance**2) / 4 * rest / classes
        return math.log(classes) + mean / 2 * rest, following, "ln V + s²/2 (1 - 1/V)"
    std = np.sqrt(variance)
    if np.ptp(std) == 0:
        return log_sum_exp(float(std[0]), classes), 0.0, "quadrature of E log Σ exp"
    # Between the nodes the loss is a smooth function of asinh s: it grows as s² below 1, and is linear in s above.
    place = np.linspace(np.arcsinh(std.min()), np.arcsinh(std.max()), nodes // 3)
    curve = CubicSpline(place, [log_sum_exp(float(s), classes) for s in np.sinh(place)])
    return float(weights @ curve(np.arcsinh(std))), 0.0, "quadrature of E log Σ exp"


def growth(init: Init, fan_in: int, activation: Activation = "linear") -> float:
    """The standard deviation of x @ w, or of its activation, for standard normal x.

    It is √fan_in · scale before the activation (Glorot & Bengio 2010). Given x, the product is Gaussian with variance
    |x|² · scale², and |x|² is χ² with fan_in degrees of freedom.
    """
    square, weights = embedding_norm(fan_in, {(1,): 1.0})
    mean, squared, _ = moments(square * init.scale(fan_in) ** 2, activation)
    return math.sqrt(weights @ squared - (weights @ mean) ** 2)


def predict(
    network: Network, vocabulary: int, patterns: Repeats | None = None, examples: float = math.inf
) -> pd.DataFrame:
    """The predictions at initialisation, a row per layer and metric: layer, metric, predicted, error, method.

    Layers are counted from 1, as in W1. Shares and stds are over examples and units, and the loss is in nats.
    preact_std is before BatchNorm, and normed_std is after it. Logits are those of the output layer before any
    activation. `patterns` are the `repeats` of the contexts (by default no character occurs twice). BatchNorm divides
    by the unbiased std over `examples` examples, which leaves a variance of 1 - 1 / examples.

    `error` is the numerical error. It does not include the error of the assumptions that `method` names. The first
    layer is exact, given the patterns. "mean field" neglects that |h|² fluctuates by 1/√width. "unit Gaussian" neglects
    that the values of a unit are only roughly Gaussian, since there are finitely many embeddings: with the few
    characters of an alphabet their tails are heavier, and from the second layer on thinner by a term of order
    1 / (T · E). A BatchNorm of constant values has no prediction (NaN).
    """
    patterns = patterns or {(1,) * network.context: 1.0}
    assert all(sum(pattern) == network.context for pattern in patterns), f"{network.context} characters, got {patterns}"
    assert math.isclose(sum(patterns.values()), 1), f"shares of patterns add up to 1, got {patterns}"
    fine = _propagate(network, vocabulary, patterns, examples, NODES)
    rough = _propagate(network, vocabulary, patterns, examples, NODES * 2 // 3)
    rows = [
        (layer, metric, value, error + abs(value - other[2]), method)
        for (layer, metric, value, error, method), other in zip(fine, rough, strict=True)
    ]
    return pd.DataFrame(rows, columns=["layer", "metric", "predicted", "error", "method"])


def _propagate(network: Network, vocabulary: int, patterns: Repeats, examples: float, nodes: int) -> list[Predicted]:
    """All predictions with `nodes` nodes per χ², with the part of the error that is known in closed form."""
    rows: list[Predicted] = []
    norm, weights = embedding_norm(network.embedding_size, patterns, nodes)
    size = network.context * network.embedding_size
    scale = network.embedding.scale(vocabulary)
    square = norm / size * scale**2  # the mean square of the layer's input, per node of the mixture
    basis = "χ² mixture over embeddings"
    layers = zip(network.layers, network.shapes(vocabulary), strict=True)
    for number, (layer, (fan_in, _)) in enumerate(layers, start=1):
        output = number == len(network.layers)
        scale *= layer.weight.scale(fan_in)  # 0 from the layer on whose values are the same for every example
        q = fan_in * square * layer.weight.scale(fan_in) ** 2
        q = q + (layer.bias.scale(fan_in) ** 2 if layer.bias else 0.0)
        if not output:
            rows.append((number, "preact_std", math.sqrt(weights @ q), 0.0, "closed form" if number == 1 else basis))
        match layer.norm:
            case "none":
                pass
            case "batch":
                q, weights, basis = np.array([1 - 1 / examples if scale > 0 else math.nan]), np.ones(1), "unit Gaussian"
                if not output:
                    rows.append((number, "normed_std", math.sqrt(q[0]), 0.0, "by construction"))
            case _:
                unknown(layer.norm)
        if output:
            rows.append((number, "logit_std", math.sqrt(weights @ q), 0.0, basis))
            value, error, method = initial_loss(q, weights, vocabulary, nodes)
            rows.append((number, "initial_loss", value, error, f"{method}; {basis}"))
            return rows
        mean, square, passed = moments(q, layer.activation)
        match layer.activation:
            case "tanh":
                how = basis
                for metric, threshold in THRESHOLDS.items():
                    rows.append((number, metric, float(weights @ saturation(q, threshold)), 0.0, basis))
            case "relu" | "linear":
                how = "closed form"
            case _:
                unknown(layer.activation)
        rows.append((number, "h_std", math.sqrt(weights @ square - (weights @ mean) ** 2), 0.0, basis))
        rows.append((number, "gradient_pass", float(weights @ passed), 0.0, how))
        basis = basis if "mean field" in basis else f"{basis}, mean field behind it"
    raise AssertionError("a network has an output layer")
