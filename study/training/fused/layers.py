"""The steps between two matrix products, forward and backward: activation, BatchNorm and cross-entropy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray, njit

from study.training.fused.kinds import LINEAR, RELU, TANH
from study.training.fused.layout import LANES
from study.training.fused.scalar import fma
from study.training.fused.tiles import address, transpose
from study.training.fused.workspace import BNBIAS, BNGAIN, FAN_OUT, INVERSE, MEAN, ROW, STD, XHAT


@njit
def view(array: Any, offset: int, size: int) -> Any:
    """The view array[offset : offset + size], without the code that a slice needs for negative and missing ends."""
    return carray(address(array, offset), size)


@njit
def fill(out: Any, value: float) -> None:
    """Write `value` to every entry of out."""
    for i in range(out.size):
        out[i] = value


@njit(error_model="numpy")
def activate(h: Any, activation: int, tanh: Any) -> None:
    """Replace h by activation(h), in place."""
    if activation == TANH:
        for i in range(h.size):
            h[i] = tanh(h[i])
    elif activation == RELU:
        for i in range(h.size):
            h[i] = h[i] - h[i] if h[i] < 0 else h[i]  # NaN stays NaN
    else:
        assert activation == LINEAR, "an activation that the kernel does not know"


@njit(error_model="numpy")
def pass_back(d: Any, h: Any, activation: int) -> None:
    """Replace d by d · activation'(preact), in place. The slope is computed from h = activation(preact)."""
    if activation == TANH:
        for i in range(h.size):
            d[i] = d[i] * fma(-h[i], h[i], h.dtype.type(1))
    elif activation == RELU:
        for i in range(h.size):
            d[i] = d[i] if h[i] > 0 else h.dtype.type(0)
    else:
        assert activation == LINEAR, "an activation that the kernel does not know"


@njit(error_model="numpy")
def normalise(params: Any, work: Any, p: Any, x: Any, examples: int, m: Any, v: Any) -> None:
    """Replace x (N, H) by bngain · (x − mean) / std + bnbias over the batch, and update the running mean and std.

    This is the lecture's definition: the std is unbiased, without eps, and the running values are moving averages of
    the mean and of the std, with momentum 0.001.
    """
    row, one = p[ROW], x.dtype.type(1)
    gain, bias = view(params, p[BNGAIN], row), view(params, p[BNBIAS], row)
    mean, std, inverse = view(params, p[MEAN], row), view(params, p[STD], row), view(work, p[INVERSE], row)
    share, degrees = one / x.dtype.type(examples), x.dtype.type(examples - 1)
    fill(m, 0.0)
    fill(v, 0.0)
    for n in range(examples):
        part = view(x, n * row, row)
        for j in range(row):
            m[j] += part[j]
    for j in range(row):
        m[j] *= share
    for n in range(examples):
        part = view(x, n * row, row)
        for j in range(row):
            gap = part[j] - m[j]
            v[j] = fma(gap, gap, v[j])
    keep, take = x.dtype.type(0.999), x.dtype.type(0.001)
    for j in range(p[FAN_OUT]):  # in the padding the std is 0, and inverse stays 0
        s = math.sqrt(v[j] / degrees)
        inverse[j] = one / s
        mean[j] = keep * mean[j] + take * m[j]
        std[j] = keep * std[j] + take * s  # the average of the std itself, not of the variance
    for n in range(examples):
        part, xhat = view(x, n * row, row), view(work, p[XHAT] + n * row, row)
        for j in range(row):
            xhat[j] = (part[j] - m[j]) * inverse[j]
            part[j] = fma(gain[j], xhat[j], bias[j])


@njit(error_model="numpy")
def normalise_back(params: Any, work: Any, p: Any, d: Any, examples: int, rate: Any, dgain: Any, dbias: Any) -> None:
    """Turn d (N, H), the gradient after the normalisation, into that before it, in place; step bngain and bnbias."""
    row, one = p[ROW], d.dtype.type(1)
    gain, bias = view(params, p[BNGAIN], row), view(params, p[BNBIAS], row)
    inverse = view(work, p[INVERSE], row)
    share, spread = one / d.dtype.type(examples), one / d.dtype.type(examples - 1)
    fill(dgain, 0.0)
    fill(dbias, 0.0)
    for n in range(examples):
        part, xhat = view(d, n * row, row), view(work, p[XHAT] + n * row, row)
        for j in range(row):
            dbias[j] += part[j]
            dgain[j] = fma(part[j], xhat[j], dgain[j])
    for n in range(examples):
        part, xhat = view(d, n * row, row), view(work, p[XHAT] + n * row, row)
        for j in range(row):
            # minus the mean over the batch, minus the part along xhat, whose squares sum to N − 1 (unbiased std)
            part[j] = gain[j] * inverse[j] * (part[j] - dbias[j] * share - xhat[j] * (dgain[j] * spread))
    for j in range(row):
        gain[j] = fma(rate, dgain[j], gain[j])
        bias[j] = fma(rate, dbias[j], bias[j])


@njit(error_model="numpy")
def loss_and_gradient(
    logits: Any,
    row: int,
    targets: Any,
    vocabulary: int,
    zeros: Any,
    transposed: Any,
    top: Any,
    total: Any,
    d: Any,
    exp: Any,
    log: Any,
) -> Any:
    """Return the mean cross-entropy of logits (N, V) in nats, and write its gradient to d (N, V).

    The softmax runs on the transposed logits, with a lane per example, so that its sums over characters keep their
    order.
    """
    examples, lanes = targets.size, top.size
    for c in range(0, row, LANES):
        for n in range(0, lanes, LANES):
            transpose(address(logits, n * row + c), row, LANES, zeros, address(transposed, c * lanes + n), lanes)
    fill(top, -np.inf)
    fill(total, 0.0)
    for c in range(vocabulary):
        line = view(transposed, c * lanes, lanes)
        for n in range(lanes):
            top[n] = line[n] if line[n] > top[n] else top[n]
    for c in range(vocabulary):
        line = view(transposed, c * lanes, lanes)
        for n in range(lanes):
            line[n] = exp(line[n] - top[n])
            total[n] += line[n]
    share = logits.dtype.type(1) / logits.dtype.type(examples)
    loss = logits.dtype.type(0)
    for n in range(examples):
        loss += log(total[n]) - (logits[n * row + targets[n]] - top[n])
    for n in range(lanes):
        total[n] = share / total[n]
    for c in range(vocabulary):
        line = view(transposed, c * lanes, lanes)
        for n in range(lanes):
            line[n] *= total[n]
    for n in range(0, lanes, LANES):
        for c in range(0, row, LANES):
            transpose(address(transposed, c * lanes + n), lanes, LANES, zeros, address(d, n * row + c), row)
    for n in range(examples):
        d[n * row + targets[n]] -= share
    return loss * share
