"""What is measured of one cell: rows of the tables, from the trajectory that its training left."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from study.data.examples import Dataset, Split
from study.data.words import fillable
from study.errors import unknown
from study.measurement import metrics
from study.measurement.evaluate import batch_statistics, calibrate, chunks, small_batch_loss, split_loss
from study.measurement.histograms import Histogram, bins_of
from study.measurement.metrics import METRICS
from study.measurement.rows import Request, Row, Rows, as_rows
from study.network.layers import Network
from study.network.mlp import Params, Statistics, cross_entropy, forward, stacked
from study.rng import generator
from study.training.cells import Cell
from study.training.trajectory import State, Trajectory, boundaries

FINE = 1000  # steps at the start whose curve is kept in fine bins
CURVE_POINTS = 2000  # bins of the rest of the curve, at most


def measure_cell(
    cell: Cell, trajectory: Trajectory, data: Dataset, reading: Request, original: Trajectory | None = None
) -> Rows:
    """The rows of a cell; of a twin its losses, and its distance from the original.

    One model at a time, in memory of its own: no figure depends on what it was trained with.
    """
    train, found = data.splits["train"], dict[str, list[Row]]()

    def add(**more: list[Row]) -> None:
        for table, entries in more.items():
            found.setdefault(table, []).extend(entries)

    for step, everything in boundaries(cell.schedule, reading.measure).items():
        state = trajectory.at(step)
        params, running = stacked([state.arrays], len(cell.network.layers))
        keys = {"seed": cell.seed, "step": step}
        if cell.twin:
            if everything:
                statistics = readings(params, running, cell.network, data, step)
                add(losses=loss_rows(params, cell.network, data, statistics, keys))
            continue
        upcoming = torch.from_numpy(state.upcoming)[None]  # (1, batch)
        lr = cell.schedule.rate(min(step, cell.schedule.steps - 1))
        add(metrics=gradient_rows(params, cell.network, train.X[upcoming], train.Y[upcoming], lr, keys))
        if everything:
            end = step == cell.schedule.steps
            add(**_everything(params, running, cell.network, data, reading, train.X[upcoming], keys, end))
    keys = {"seed": cell.seed}
    losses = torch.from_numpy(trajectory.losses)  # (steps,)
    add(curves=[{**keys, **bin_} for bin_ in curve_rows(losses.double())])
    add(cells=[{**keys, **outcome(trajectory.at(cell.schedule.steps), losses)}])
    if original is not None:
        for state in trajectory.states:
            if state.step in boundaries(cell.schedule, reading.measure):
                gap = distance(state, original.at(state.step))
                add(twins=[{"step": state.step, "distance": gap}])
    return as_rows(found)


def distance(state: State, original: State) -> float | None:
    """How far a twin is from its original after as many steps: |θ' − θ| / |θ| over all parameters."""
    theirs, ours = (torch.cat([t.flatten() for t in parameters(of)[0]]).double() for of in (state, original))  # (P,)
    gap = float((theirs - ours).norm() / ours.norm())
    return gap if math.isfinite(gap) else None


def parameters(state: State) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters, in the order C, W1, b1, …, and running statistics, (1, rows, columns) each."""
    params, running = stacked([state.arrays], sum(name.startswith("W") for name in state.arrays))
    pairs = zip(running.mean, running.std, strict=True)
    return params.tensors(), [tensor for pair in pairs for tensor in pair if tensor is not None]


def outcome(end: State, losses: Tensor) -> Row:
    """Status and hash of a finished cell; a NaN or an infinity anywhere is a diverged cell, not a dropped one."""
    tensors = [tensor for part in parameters(end) for tensor in part]
    bad = (~torch.isfinite(losses)).nonzero()  # (n, 1)
    diverged = bool(len(bad)) or not all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return {
        "status": "diverged" if diverged else "done",
        "step": int(bad[0]) if len(bad) else (len(losses) if diverged else None),
        "sha256": digest.hexdigest(),
    }


def curve_rows(loss: Tensor) -> list[Row]:
    """Mean of the minibatch losses (steps,) in bins: of ten steps for the first thousand (in a shorter training of fewer,
    up to 199 bins in all), then at most 2,000 bins."""
    steps, fine = len(loss), min(FINE, len(loss))
    width = max(FINE // 100, -(-(steps - FINE) // CURVE_POINTS))
    starts = [*range(0, fine, max(1, fine // 100)), *range(fine, steps, width)]
    ends = [*starts[1:], steps]
    return [
        {"first": a, "step": (a + b - 1) / 2, "loss": float(loss[a:b].mean())}
        for a, b in zip(starts, ends, strict=True)
    ]


# -- what is looked at ------------------------------------------------------------------------------------------------


def gradient_rows(params: Params, network: Network, X: Tensor, Y: Tensor, lr: float, keys: Row) -> list[Row]:
    """Rows about every parameter's gradient on the next minibatch, X (1, batch, T), Y (1, batch), of the cell's stream."""
    names, tensors = zip(*params.named(), strict=True)
    for tensor in tensors:
        tensor.requires_grad_()
    loss = cross_entropy(forward(params, network, X).logits, Y).sum()
    gradients = torch.autograd.grad(loss, tensors)
    for tensor in tensors:
        tensor.requires_grad_(False)
    return [
        {**keys, "parameter": name, "metric": metric, "value": _finite(METRICS[metric].measure(tensor, gradient, lr))}
        for name, tensor, gradient in zip(names, tensors, gradients, strict=True)
        for metric in metrics.names("gradient")
    ]


def _finite(value: Tensor) -> float | None:
    """The figure of one model; empty where it does not exist (log10 of 0, say)."""
    number = float(value)
    return number if math.isfinite(number) else None


def readings(
    params: Params, running: Statistics, network: Network, data: Dataset, step: int
) -> dict[str, Statistics | None]:
    """Statistics that a model is read under, by name. Before the first step there are no running statistics yet."""
    match network.norm:
        case "none":
            return {"none": None}
        case "batch":
            calibrated: dict[str, Statistics | None] = {"calibrated": calibrate(params, network, data.splits["train"])}
            return calibrated if step == 0 else {"running": running, **calibrated}
        case _:
            unknown(network.norm)


def _everything(
    params: Params,
    running: Statistics,
    network: Network,
    data: Dataset,
    reading: Request,
    X: Tensor,
    keys: Row,
    end: bool,
) -> dict[str, list[Row]]:
    """Rows of the tables about one model at one step, those of its gradients aside."""
    statistics = readings(params, running, network, data, keys["step"])
    losses, metrics_ = loss_rows(params, network, data, statistics, keys), list[Row]()
    for kind, values in statistics.items():
        metrics_ += activation_rows(params, network, data.splits["train"], values, {**keys, "statistics": kind})
    last = list(statistics)[-1]  # histograms: calibrated, or without a norm
    histograms = histogram_rows(params, network, data.splits["train"], statistics[last], {"step": keys["step"]})
    if network.batchnorm_layers:
        metrics_ += gap_rows(params, network, statistics, X[0], keys)
        if end:
            losses += batch_size_rows(params, network, data.splits["dev"], reading.batch_sizes, keys)
    pictures = picture_rows(params, network, X, keys)
    return {"losses": losses, "metrics": metrics_, "histograms": histograms, "pictures": pictures}


def loss_rows(
    params: Params, network: Network, data: Dataset, statistics: dict[str, Statistics | None], keys: Row
) -> list[Row]:
    """Losses of every full split under all statistics; batch: the split as one batch."""
    found = list[Row]()
    for name, split in data.splits.items():
        losses = {kind: float(split_loss(params, network, split, values)) for kind, values in statistics.items()}
        if network.batchnorm_layers:
            match name:
                case "train":  # calibrated is the training split as one batch
                    losses["batch"] = losses["calibrated"]
                case "dev" | "test":
                    losses["batch"] = float(split_loss(params, network, split, calibrate(params, network, split)))
                case _:
                    unknown(name)
        for kind, loss in losses.items():
            found.append({**keys, "split": name, "statistics": kind, "examples": len(split.Y), "loss": loss})
    return found


def activation_rows(
    params: Params, network: Network, split: Split, statistics: Statistics | None, keys: Row
) -> list[Row]:
    """Rows of every registered metric of hidden levels and logits over the full split, streamed."""
    by_layer = {i + 1: metrics.reducers(metrics.names("layer", layer)) for i, layer in enumerate(network.hidden)}
    of_output = metrics.reducers(metrics.names("output"))
    with torch.no_grad():
        for X, counts in chunks(split, network):
            weights = counts.sum(1)  # (n,)
            activations = forward(params, network, X, statistics)
            for number, chosen in by_layer.items():
                trace, layer = activations.layers[number - 1], network.layers[number - 1]
                for name, reducer in chosen.items():
                    reducer.add(METRICS[name].measure(trace, layer), weights)
            for name, reducer in of_output.items():
                reducer.add(METRICS[name].measure(activations), weights)
    of_layers = [
        {**keys, "layer": number, "metric": name, "value": _finite(reducer.result())}
        for number, chosen in by_layer.items()
        for name, reducer in chosen.items()
    ]
    return of_layers + [
        {**keys, "metric": name, "value": _finite(reducer.result())} for name, reducer in of_output.items()
    ]


def histogram_rows(
    params: Params, network: Network, split: Split, statistics: Statistics | None, keys: Row
) -> list[Row]:
    """Counts of what every hidden activation sees and gives, and of the logits, over the full split, streamed."""
    wanted = [(i + 1, q, bins_of(q, layer)) for i, layer in enumerate(network.hidden) for q in ("preact", "h")]
    wanted.append((len(network.layers), "logits", bins_of("logits", network.output)))
    histograms = {(number, quantity): Histogram(bins) for number, quantity, bins in wanted}
    with torch.no_grad():
        for X, counts in chunks(split, network):
            activations = forward(params, network, X, statistics)
            for (number, quantity), histogram in histograms.items():
                trace = activations.layers[number - 1]
                seen = quantity == "preact" or histogram.bins.through  # what the activation sees
                histogram.add(trace.z[0] if seen else trace.h[0], counts.sum(1))
    return [
        {**keys, "layer": number, "quantity": quantity, "edges": h.bins.edges(), "counts": h.counts.tolist()}
        for (number, quantity), h in histograms.items()
    ]


def picture_rows(params: Params, network: Network, X: Tensor, keys: Row) -> list[Row]:
    """Which units of a tanh level have |h| > 0.99, for every example of the next minibatch X (1, batch, T): 0 and 1."""
    with torch.no_grad():
        layers = forward(params, network, X).layers
    return [
        {**keys, "layer": i + 1, "example": n, "units": bytes(units + ord("0")).decode("ascii")}
        for i, layer in enumerate(network.hidden)
        if layer.activation == "tanh"
        for n, units in enumerate(metrics.saturated(layers[i], "0.99")[0].numpy().astype("uint8"))
    ]


def gap_rows(
    params: Params, network: Network, statistics: dict[str, Statistics | None], X: Tensor, keys: Row
) -> list[Row]:
    """Largest gap of a unit's mean and std from the calibrated ones: running statistics, and one minibatch X (batch, T)."""
    calibrated = statistics["calibrated"]
    assert calibrated is not None
    minibatch = batch_statistics(params, network, X, len(X))
    found = list[Row]()
    for kind, values in {**statistics, "batch": minibatch}.items():
        if kind == "calibrated" or values is None:
            continue
        for i in network.batchnorm_layers:
            for metric, a, b in (
                ("gap_mean", values.mean[i], calibrated.mean[i]),
                ("gap_std", values.std[i], calibrated.std[i]),
            ):
                assert a is not None and b is not None
                found.append(
                    {
                        **keys,
                        "layer": i + 1,
                        "statistics": kind,
                        "metric": metric,
                        "value": _finite((a - b).abs().max()),
                    }
                )
    return found


def batch_size_rows(params: Params, network: Network, dev: Split, sizes: tuple[int, ...], keys: Row) -> list[Row]:
    """Losses of the same examples of dev, read with batch statistics in batches of each size, and all as one batch.

    The first n of a seeded permutation, n the largest number of examples that fills every size without a rest.
    """
    fitting = fillable(sizes, len(dev.Y))
    if not fitting:
        return []
    unit = math.lcm(*fitting)
    n = len(dev.Y) // unit * unit
    order = torch.from_numpy(generator(0, "evaluation order").permutation(len(dev.Y))[:n])
    X, Y = dev.X[order], dev.Y[order]
    whole = Split(X, Y, dev.vocabulary)
    losses = {size: float(small_batch_loss(params, network, X, Y, size)) for size in fitting}
    losses[n] = float(split_loss(params, network, whole, calibrate(params, network, whole)))
    return [
        {**keys, "split": "dev", "statistics": "batch", "batch_size": size, "examples": n, "loss": loss}
        for size, loss in losses.items()
    ]
