"""Predict a network before its first step without a draw: the spread of the signal, saturation and the initial loss.

All predictions are expectations over seeds. Given its input, a pre-activation is Gaussian with variance
q = |input|² · σ_w² + σ_b², because the weights are Gaussian. |embedding|² differs from context to context, so that the
pre-activations of the first layer are a mixture of Gaussians (exactly). For the layers after it, widths are assumed to
be large: |h|² = fan_in · E[φ(√q z)²] for each node of that mixture (Poole et al. 2016; Schoenholz et al. 2017).
A norm sets q to 1, and BatchNorm ends the mixture. Squares are averaged, so that a predicted std is the root mean
square over seeds, which is slightly above the mean of measured stds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import erfc, lambertw, ndtr
from scipy.stats import chi2

from study.network.activations import ACTIVATIONS, Floats
from study.network.expectations import moments
from study.network.inits import Init, log_frequencies
from study.network.layers import Layer, Network

Repeats = Mapping[tuple[int, ...], float]  # how often each character of a context occurs in it -> share of contexts
Predicted = tuple[int, str, float, float, str]  # layer, metric, predicted, error, method

COLUMNS = ["layer", "metric", "predicted", "error", "method"]
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


def growth(init: Init, fan_in: int, activation: str = "linear") -> float:
    """The standard deviation of x @ w, or of its activation, for standard normal x and a wide w.

    It is √fan_in · scale before the activation (Glorot & Bengio 2010). Given x, the product is Gaussian with variance
    |x|² · scale², and |x|² is χ² with fan_in degrees of freedom.
    """
    square, weights = embedding_norm(fan_in, {(1,): 1.0})
    mean, squared, _ = moments(square * init.scale(fan_in, fan_in) ** 2, activation)
    return math.sqrt(weights @ squared - (weights @ mean) ** 2)


def cross_entropy_of_frequencies(targets: Sequence[int], variance: float) -> tuple[float, float, str]:
    """The first loss in nats on examples with these target counts (V,), its error and its method, for an output bias of
    log frequencies and other logits of this variance.

    With p = softmax(b), it is the cross-entropy of the counts with p, and s²/2 · (1 − Σ p²) more for logits of a small
    std s, which is the second term of E log Σ p_c exp(z_c). The next term is of the order of s⁴.
    """
    if not variance <= SMALL**2:
        return math.nan, math.nan, f"no prediction: log frequencies with logits of std above {SMALL}"
    b, n = np.array(log_frequencies(targets)), np.array(targets, float)
    p = np.exp(b) / np.exp(b).sum()
    loss = float(n / n.sum() @ -np.log(p)) + variance / 2 * float(1 - (p**2).sum())
    return loss, variance**2 / 4, "cross-entropy with softmax(b) + s²/2 (1 − Σ p²)"


def predict(
    network: Network,
    vocabulary: int,
    patterns: Repeats | None = None,
    examples: float = math.inf,
    targets: Sequence[int] = (),
) -> pd.DataFrame:
    """The predictions at initialisation, a row per layer and metric: layer, metric, predicted, error, method.

    Layers are counted from 1, as in W1. Shares and stds are over examples and units, and the loss is in nats.
    preact_std is before a norm, and normed_std is after it. Logits are those of the output layer before any
    activation. `patterns` are the `repeats` of the contexts (by default no character occurs twice). The lecture's
    BatchNorm divides by the unbiased std over `examples` examples, which leaves a variance of 1 - 1 / examples.
    `targets` are the counts of the targets, (V,), for an output bias of log frequencies.

    `error` is the numerical error. It does not include the error of the assumptions that `method` names. The first
    layer is exact, given the patterns. "mean field" neglects that |h|² fluctuates by 1/√width. "unit Gaussian" neglects
    that the values of a unit are only roughly Gaussian, since there are finitely many embeddings: with the few
    characters of an alphabet their tails are heavier, and from the second layer on thinner by a term of order
    1 / (T · E). What has no prediction is NaN, and `method` says why: a BatchNorm of constant values, a constant
    weight, a norm, an initialiser or a kind of model that has no theory.
    """
    patterns = patterns or {(1,) * network.context: 1.0}
    assert all(sum(pattern) == network.context for pattern in patterns), f"{network.context} characters, got {patterns}"
    assert math.isclose(sum(patterns.values()), 1), f"shares of patterns add up to 1, got {patterns}"
    if network.kind != "mlp":  # the theory is that of the MLP
        found = _without_theory(network)
        return pd.DataFrame(found, columns=COLUMNS)
    fine = _propagate(network, vocabulary, patterns, examples, targets, NODES)
    rough = _propagate(network, vocabulary, patterns, examples, targets, NODES * 2 // 3)
    rows = [
        (layer, metric, value, error + abs(value - other[2]), method)
        for (layer, metric, value, error, method), other in zip(fine, rough, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _without_theory(network: Network) -> list[Predicted]:
    """The rows of a model that has no theory: what could be asked of its output, and why there is no answer."""
    why = f"no prediction: there is no theory of {network.model.label}"
    return [(len(network.layers), metric, math.nan, 0.0, why) for metric in ("logit_std", "initial_loss")]


def _propagate(
    network: Network, vocabulary: int, patterns: Repeats, examples: float, targets: Sequence[int], nodes: int
) -> list[Predicted]:
    """All predictions with `nodes` nodes per χ², with the part of the error that is known in closed form."""
    signal = _embedded(network, vocabulary, patterns, nodes)
    rows: list[Predicted] = []

    def add(number: int, metric: str, value: float, error: float, method: str) -> None:
        known = not signal.lacking
        rows.append((number, metric, value, error, method) if known else (number, metric, math.nan, 0.0, signal.why))

    layers = zip(network.layers, network.shapes(vocabulary), strict=True)
    for number, (layer, (fan_in, fan_out)) in enumerate(layers, start=1):
        output = number == len(network.layers)
        signal = _multiplied(signal, layer, fan_in, fan_out, output)
        if not output:
            add(number, "preact_std", signal.rms, 0.0, "closed form" if number == 1 else signal.basis)
        if layer.norm_entry is not None:
            signal = _normalised(signal, layer, examples)
            if not output:
                add(number, "normed_std", signal.rms, 0.0, "by construction")
        if output:
            add(number, "logit_std", _logit_std(signal, layer, targets), 0.0, signal.basis)
            value, error, method = _first_loss(signal, layer, vocabulary, targets, nodes)
            add(number, "initial_loss", value, error, method)
            return rows
        activation = ACTIVATIONS[layer.activation]
        if not activation.origin:
            signal = signal.without(f"the activation {layer.activation} is of an extension, which is not loaded")
            for metric in ("h_std", "gradient_pass"):
                add(number, metric, math.nan, 0.0, "")
            continue
        q, weights = signal.q, signal.weights
        mean, square, passed = moments(q, layer.activation)
        closed = activation.moments is not None
        how = signal.basis if closed else f"{signal.basis}; quadrature"
        if layer.activation == "tanh":
            for metric, threshold in THRESHOLDS.items():
                add(number, metric, float(weights @ saturation(q, threshold)), 0.0, signal.basis)
        add(number, "h_std", _root(float(weights @ square - (weights @ mean) ** 2)), 0.0, how)
        add(number, "gradient_pass", float(weights @ passed), 0.0, "closed form" if closed else how)
        basis = signal.basis if "mean field" in signal.basis else f"{signal.basis}, mean field behind it"
        signal = replace(signal, q=square, basis=basis)
    raise AssertionError("a network has an output layer")


@dataclass(frozen=True)
class _Signal:
    """What theory knows of a layer's values: a mixture of Gaussians of mean 0 over the examples."""

    q: Floats  # the variance of a value in every part of the mixture; behind an activation the mean square
    weights: Floats  # the share of examples in every part
    varies: bool  # whether the values differ from example to example at all
    basis: str  # the assumptions, in words
    lacking: str = ""  # why nothing can be predicted from here on; empty where it can

    @property
    def why(self) -> str:
        """The method in the words of the page, where there is no prediction."""
        return f"no prediction: {self.lacking}"

    @property
    def rms(self) -> float:
        """The std of all values."""
        return _root(float(self.weights @ self.q))

    def without(self, reason: str) -> _Signal:
        """The same signal where nothing can be predicted any more, for the first such reason."""
        return replace(self, lacking=self.lacking or reason)


def _root(square: float) -> float:
    return math.sqrt(square) if square >= 0 else math.nan


def _embedded(network: Network, vocabulary: int, patterns: Repeats, nodes: int) -> _Signal:
    """The concatenated embeddings: q is their mean square."""
    init, size = network.embedding, network.context * network.embedding_size
    assert init is not None, "an MLP has an embedding"
    scale = init.scale(vocabulary, network.embedding_size)
    if init.gaussian:
        norm, weights = embedding_norm(network.embedding_size, patterns, nodes)
        return _Signal(norm / size * scale**2, weights, scale > 0, "χ² mixture over embeddings")
    signal = _Signal(np.array([scale**2]), np.ones(1), scale > 0, "|embedding|² taken as its mean")
    return signal if init.centred else signal.without(f"the embedding is drawn as {init.words}")


def _multiplied(signal: _Signal, layer: Layer, fan_in: int, fan_out: int, output: bool) -> _Signal:
    """The pre-activations out of the values of the layer before."""
    weight, bias = layer.weight, layer.bias
    scale = weight.scale(fan_in, fan_out)
    q = fan_in * signal.q * scale**2
    if bias is not None and bias.centred:
        q = q + bias.scale(fan_in, fan_out) ** 2
    found = replace(signal, q=q, varies=signal.varies and scale > 0)
    if not weight.centred:
        return found.without(f"a weight is drawn as {weight.words}")
    # A bias that is the same for all classes changes no loss, and the log frequencies are added by `_first_loss`.
    added = output and layer.norm == "none" and bias is not None and bias.kind in ("constant", "log frequencies")
    if bias is not None and not bias.centred and not added:
        return found.without(f"a bias is drawn as {bias.words}")
    return found


def _normalised(signal: _Signal, layer: Layer, examples: float) -> _Signal:
    """The values behind the norm of a layer."""
    entry, settings = layer.norm_entry, layer.norm_settings
    assert entry is not None
    if entry.variance is None:
        known = "there is no theory of" if entry.origin else "this extension is not loaded:"
        return signal.without(f"{known} {layer.norm_words}")
    if entry.needs_statistics:  # every unit is normalised over the examples, which ends the mixture
        variance = np.atleast_1d(np.asarray(entry.variance(signal.weights @ signal.q, examples, settings), float))
        q, weights = (variance if signal.varies else np.array([math.nan])), np.ones(1)
        plain = 1 - 1 / examples
        if signal.varies and variance[0] < plain * (1 - 1e-3):
            signal = signal.without("the eps of the norm is not small beside the variance")
    else:
        q, weights = np.asarray(entry.variance(signal.q, examples, settings), float), signal.weights
    found = replace(signal, q=q, weights=weights, basis="unit Gaussian")
    for key, _, init in layer.norm_parameters:
        if key == "gain" and init.kind == "constant":
            found = replace(found, q=found.q * init.settings.constant**2)
        elif key == "bias" and init.centred:
            found = replace(found, q=found.q + init.scale(1, 1) ** 2)
        else:
            found = found.without(f"the {key} of {entry.label} is drawn as {init.words}")
    return found


def _has_frequencies(layer: Layer) -> bool:
    return layer.bias is not None and layer.bias.kind == "log frequencies"


def _logit_std(signal: _Signal, layer: Layer, targets: Sequence[int]) -> float:
    """The std of the logits over examples and classes, of which the bias is a part where the classes have their own."""
    if not _has_frequencies(layer):
        return signal.rms
    return math.sqrt(signal.rms**2 + float(np.var(log_frequencies(targets)))) if targets else math.nan


def _first_loss(
    signal: _Signal, layer: Layer, vocabulary: int, targets: Sequence[int], nodes: int
) -> tuple[float, float, str]:
    """The first loss in nats, its error and its method."""
    if _has_frequencies(layer):
        if not targets:
            return math.nan, math.nan, "no prediction: the frequencies of the targets are not known"
        value, error, method = cross_entropy_of_frequencies(targets, float(signal.weights @ signal.q))
    else:
        value, error, method = initial_loss(signal.q, signal.weights, vocabulary, nodes)
    return value, error, f"{method}; {signal.basis}"
