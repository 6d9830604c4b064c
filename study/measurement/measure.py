"""Measure one cell: turn the trajectory of its training into rows of the tables."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from study.data.examples import Dataset, Split
from study.data.words import fillable
from study.errors import unknown
from study.measurement import metrics
from study.measurement.evaluate import batch_statistics, calibrate, chunks, small_batch_loss
from study.measurement.histograms import Histogram, bins_of
from study.measurement.metrics import METRICS
from study.measurement.rows import Request, Row, Rows, as_rows
from study.measurement.signals import read_signals
from study.network.activations import ACTIVATIONS, in_torch
from study.network.layers import Layer, Network
from study.network.model import LayerTrace, Parameters
from study.network.norms import Statistics
from study.rng import generator
from study.training.cells import Cell
from study.training.trajectory import State, Trajectory, boundaries

FINE = 1000  # the steps at the start whose curve has narrow bins
CURVE_POINTS = 2000  # the largest number of bins for the rest of the curve


def measure_cell(
    cell: Cell, trajectory: Trajectory, data: Dataset, reading: Request, original: Trajectory | None = None
) -> Rows:
    """The rows of a cell. Of a twin only its losses, its curve, and its distance from the original are measured.

    One model is measured at a time, in memory of its own, so that no result depends on its stack in training.
    """
    train, found = data.splits["train"], dict[str, list[Row]]()

    def add(**more: list[Row]) -> None:
        for table, entries in more.items():
            found.setdefault(table, []).extend(entries)

    for step, everything in boundaries(cell.schedule, reading.measure).items():
        state = trajectory.at(step)
        params, running = cell.network.model.load().stacked([state.arrays], cell.network)
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
    if not cell.twin:
        add(metrics=training_rows(trajectory, {**keys, "step": cell.schedule.steps}))
    add(cells=[{**keys, **outcome(trajectory.at(cell.schedule.steps), cell.network, losses)}])
    if original is not None:
        for state in trajectory.states:
            if state.step in boundaries(cell.schedule, reading.measure):
                gap = distance(state, original.at(state.step), cell.network)
                add(twins=[{"step": state.step, "distance": gap}])
    return as_rows(found)


def training_rows(trajectory: Trajectory, keys: Row) -> list[Row]:
    """Rows with every registered metric of the whole training."""
    return [
        {**keys, "metric": name, "value": finite(METRICS[name].measure(trajectory))}
        for name in metrics.names("training")
    ]


def distance(state: State, original: State, network: Network) -> float | None:
    """The distance of a twin from its original after the same number of steps: |θ' − θ| / |θ| over all parameters.

    It is None where it is not finite.
    """
    theirs, ours = (
        torch.cat([t.flatten() for t in parameters(of, network)[0]]).double() for of in (state, original)
    )  # (P,)
    gap = float((theirs - ours).norm() / ours.norm())
    return gap if math.isfinite(gap) else None


def parameters(state: State, network: Network) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters, in the order of named(), and the running statistics, (1, rows, columns) each."""
    params, running = network.model.load().stacked([state.arrays], network)
    return params.tensors(), [t for own in running if own is not None for t in (own.mean, own.spread)]


def outcome(end: State, network: Network, losses: Tensor) -> Row:
    """The status and the hash of a finished cell. A NaN or an infinity anywhere makes it a diverged cell."""
    tensors = [tensor for part in parameters(end, network) for tensor in part]
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
    """The mean of the minibatch losses (steps,) in bins.

    The bins of the first 1,000 steps have ten steps each. A shorter training has narrower bins, at most 199 in all. The
    steps after the first 1,000 have at most 2,000 bins.
    """
    steps, fine = len(loss), min(FINE, len(loss))
    width = max(FINE // 100, -(-(steps - FINE) // CURVE_POINTS))
    starts = [*range(0, fine, max(1, fine // 100)), *range(fine, steps, width)]
    ends = [*starts[1:], steps]
    return [
        {"first": a, "step": (a + b - 1) / 2, "loss": float(loss[a:b].mean())}
        for a, b in zip(starts, ends, strict=True)
    ]


# -- the rows of one model at one step --------------------------------------------------------------------------------


def gradient_rows(params: Parameters, network: Network, X: Tensor, Y: Tensor, lr: float, keys: Row) -> list[Row]:
    """Rows about the gradient of every parameter on the cell's next minibatch, X (1, batch, T), Y (1, batch)."""
    names, tensors = zip(*params.named(), strict=True)
    for tensor in tensors:
        tensor.requires_grad_()
    model = network.model.load()
    loss = model.example_loss(model.forward(params, network, X).logits, Y).mean(1).sum()
    gradients = torch.autograd.grad(loss, tensors)
    for tensor in tensors:
        tensor.requires_grad_(False)
    return [
        {**keys, "parameter": name, "metric": metric, "value": finite(METRICS[metric].measure(tensor, gradient, lr))}
        for name, tensor, gradient in zip(names, tensors, gradients, strict=True)
        for metric in metrics.names("parameter")
    ]


def finite(value: Tensor | float) -> float | None:
    """The value of one model. It is None where it does not exist (for example log10 of 0)."""
    number = float(value)
    return number if math.isfinite(number) else None


def readings(
    params: Parameters, running: Statistics, network: Network, data: Dataset, step: int
) -> dict[str, Statistics | None]:
    """The statistics with which a model is read, by name. Before the first step there are no running ones yet."""
    if not network.layers_with_statistics:
        return {"none": None}
    calibrated: dict[str, Statistics | None] = {"calibrated": calibrate(params, network, data.splits["train"])}
    return calibrated if step == 0 else {"running": running, **calibrated}


def _everything(
    params: Parameters,
    running: Statistics,
    network: Network,
    data: Dataset,
    reading: Request,
    X: Tensor,
    keys: Row,
    end: bool,
) -> dict[str, list[Row]]:
    """Rows of the tables about one model at one step, except those about its gradients."""
    statistics = readings(params, running, network, data, keys["step"])
    losses, metrics_ = loss_rows(params, network, data, statistics, keys), list[Row]()
    for kind, values in statistics.items():
        metrics_ += activation_rows(params, network, data.splits["train"], values, {**keys, "statistics": kind})
    last = list(statistics)[-1]  # the histograms are of calibrated readings, or of those without a norm
    histograms = histogram_rows(params, network, data.splits["train"], statistics[last], {"step": keys["step"]})
    if network.layers_with_statistics:
        metrics_ += gap_rows(params, network, statistics, X[0], keys)
        if end:
            losses += batch_size_rows(params, network, data.splits["dev"], reading.batch_sizes, keys)
    pictures = picture_rows(params, network, X, keys)
    return {"losses": losses, "metrics": metrics_, "histograms": histograms, "pictures": pictures}


def loss_rows(
    params: Parameters, network: Network, data: Dataset, statistics: dict[str, Statistics | None], keys: Row
) -> list[Row]:
    """Rows with the loss of every full split for all statistics. "batch" reads the split as one batch."""
    found = list[Row]()
    for name, split in data.splits.items():
        losses = {kind: float(metrics.loss(params, network, split, values)) for kind, values in statistics.items()}
        if network.layers_with_statistics:
            match name:
                case "train":  # "calibrated" reads the training split as one batch
                    losses["batch"] = losses["calibrated"]
                case "dev" | "test":
                    losses["batch"] = float(metrics.loss(params, network, split, calibrate(params, network, split)))
                case _:
                    unknown(name)
        for kind, loss in losses.items():
            found.append({**keys, "split": name, "statistics": kind, "examples": len(split.Y), "loss": loss})
    return found


def activation_rows(
    params: Parameters, network: Network, split: Split, statistics: Statistics | None, keys: Row
) -> list[Row]:
    """Rows with every registered metric of hidden layers and logits over the full split, read chunk by chunk."""
    signals = read_signals(params, network, chunks(split, network), statistics)
    return [
        {**keys, **({} if layer is None else {"layer": layer}), "metric": name, "value": finite(value)}
        for (layer, name), value in signals.values.items()
    ]


def histogram_rows(
    params: Parameters, network: Network, split: Split, statistics: Statistics | None, keys: Row
) -> list[Row]:
    """Rows with histograms of the inputs and outputs of every hidden activation, and of the logits.

    They are over the full split, read chunk by chunk.
    """
    wanted = [(i + 1, q, bins_of(q, layer)) for i, layer in enumerate(network.hidden) for q in ("preact", "h")]
    wanted.append((len(network.layers), "logits", bins_of("logits", network.output)))
    histograms = {(number, quantity): Histogram(bins) for number, quantity, bins in wanted}
    model = network.model.load()
    with torch.no_grad():
        for X, counts in chunks(split, network):
            activations = model.forward(params, network, X, statistics)
            for (number, quantity), histogram in histograms.items():
                trace = activations.layers[number - 1]
                seen = quantity == "preact" or histogram.bins.through  # the input of the activation
                values = trace.z[0] if seen else _outputs(trace, network.layers[number - 1])
                histogram.add(values, counts.sum(1))
    return [
        {**keys, "layer": number, "quantity": quantity, "edges": h.bins.edges(), "counts": h.counts.tolist()}
        for (number, quantity), h in histograms.items()
    ]


def _outputs(trace: LayerTrace, layer: Layer) -> Tensor:
    """The outputs of a layer's activation for the first model, (N, H).

    The last bit of most functions of torch depends on the CPU and would move a float32 value into another bin. In
    float64 it is too small to do so, unless a value is an edge.
    """
    if ACTIVATIONS[layer.activation].exact:
        return trace.h[0]
    return in_torch(layer.activation)(trace.z[0].double())


def picture_rows(params: Parameters, network: Network, X: Tensor, keys: Row) -> list[Row]:
    """Rows that say which units of each tanh layer have |h| > 0.99, as a text of 0 and 1 per example.

    The examples are those of the next minibatch X (1, batch, T).
    """
    with torch.no_grad():
        layers = network.model.load().forward(params, network, X).layers
    return [
        {**keys, "layer": i + 1, "example": n, "units": bytes(units + ord("0")).decode("ascii")}
        for i, layer in enumerate(network.hidden)
        if layer.activation == "tanh"
        for n, units in enumerate(metrics.saturated(layers[i], "0.99")[0].numpy().astype("uint8"))
    ]


def gap_rows(
    params: Parameters, network: Network, statistics: dict[str, Statistics | None], X: Tensor, keys: Row
) -> list[Row]:
    """Rows with the largest gap of a unit's mean, and of its std, from the calibrated ones.

    The gap is taken of the running statistics, and of the statistics of one minibatch X (batch, T).
    """
    calibrated = statistics["calibrated"]
    assert calibrated is not None
    minibatch = batch_statistics(params, network, X, len(X))
    found = list[Row]()
    for kind, values in {**statistics, "batch": minibatch}.items():
        if kind == "calibrated" or values is None:
            continue
        for i in network.layers_with_statistics:
            for metric in ("gap_mean", "gap_std"):
                gap = METRICS[metric].measure(values, calibrated, i)
                found.append({**keys, "layer": i + 1, "statistics": kind, "metric": metric, "value": finite(gap)})
    return found


def batch_size_rows(params: Parameters, network: Network, dev: Split, sizes: tuple[int, ...], keys: Row) -> list[Row]:
    """Rows with the losses of the same dev examples, read in batches of each size, and all of them as one batch.

    Every batch has its own statistics. The examples are the first n of a seeded permutation, where n is the largest
    number that every size divides. Sizes for which dev is too small are left out.
    """
    fitting = fillable(sizes, len(dev.Y))
    if not fitting:
        return []
    unit = math.lcm(*fitting)
    n = len(dev.Y) // unit * unit
    order = torch.from_numpy(generator(0, "evaluation order").permutation(len(dev.Y))[:n])
    whole = Split(dev.X[order], dev.Y[order], dev.vocabulary)
    losses = {size: float(small_batch_loss(params, network, whole, size)) for size in fitting}
    losses[n] = float(metrics.loss(params, network, whole, calibrate(params, network, whole)))
    return [
        {**keys, "split": "dev", "statistics": "batch", "batch_size": size, "examples": n, "loss": loss}
        for size, loss in losses.items()
    ]
