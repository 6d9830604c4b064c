"""Networks, cells and data for the tests, small unless said otherwise."""

from __future__ import annotations

import torch
from torch import Tensor

from study.data.examples import Dataset, Split
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.network.mlp import LayerParams, Params
from study.network.norms import LayerStatistics, Statistics
from study.training.autograd import Trainer
from study.training.cells import Cell, Protocol, Schedule, Stack

LECTURE = (200,)  # hidden widths of the lecture's network


def network(
    widths: tuple[int, ...] = (12,),
    norm: str = "none",
    activation: str = "tanh",
    bias: bool = True,
    gain: float = 5 / 3,
    output: float = 0.1,
    context: int = 3,
    embedding: int = 10,
) -> Network:
    """A network that starts well, unless a scale says otherwise."""
    layer = Layer(Init(gain=gain), Init(std=0.01) if bias else None, norm, activation)
    last = Layer(Init(std=output), Init(std=0.0), "none", "linear")
    return Network(context, embedding, widths, Init(std=1.0), (layer,) * len(widths), last)


def model(params: Params, m: int) -> Params:
    """Model m by itself, in memory of its own; the model axis stays, with length one."""

    def cut(tensor: Tensor | None) -> Tensor:
        return None if tensor is None else tensor.detach()[m : m + 1].clone()  # type: ignore[return-value]

    def norm(layer: LayerParams) -> dict[str, Tensor]:
        return {name: cut(tensor) for name, tensor in layer.norm.items()}

    return Params(cut(params.C), tuple(LayerParams(cut(v.W), cut(v.b), norm(v)) for v in params.layers))


def cell(
    setup: Network,
    seed: int = 0,
    steps: int = 30,
    batch_size: int = 32,
    lr: tuple[tuple[int, float], ...] = ((0, 0.1),),
    protocol: Protocol = "paired",
) -> Cell:
    return Cell(setup, seed, protocol, Schedule(batch_size, steps, lr))


def split(vocabulary: int = 9, context: int = 3, examples: int = 500, seed: int = 0) -> Split:
    """Random characters, some much more frequent than others, so that contexts repeat."""
    g = torch.Generator().manual_seed(seed)
    share = 1 / torch.arange(1, vocabulary + 1)
    drawn = torch.multinomial(share, examples * (context + 1), replacement=True, generator=g).view(examples, -1)
    return Split(drawn[:, :-1].contiguous(), drawn[:, -1].contiguous(), vocabulary)


def dataset(vocabulary: int = 9, context: int = 3, examples: int = 500) -> Dataset:
    sizes = {"train": examples, "dev": examples // 4, "test": examples // 5}
    splits = {name: split(vocabulary, context, n, seed) for seed, (name, n) in enumerate(sizes.items())}
    return Dataset(splits, vocabulary)


def trained(cells: list[Cell], data: Split, blocks: tuple[int, ...] = ()) -> tuple[Trainer, Tensor]:
    """A stack trained to its end, pausing at `blocks`, and its losses (M, steps)."""
    trainer = Trainer(Stack(tuple(cells)), data, data.vocabulary)
    losses = [trainer.advance(until) for until in (*blocks, cells[0].schedule.steps)]
    return trainer, torch.cat(losses, dim=1)


def flat(trainer: Trainer, m: int) -> dict[str, Tensor]:
    """Parameters and running statistics of model m, without the model axis, by the lecture's names."""
    found = {name: tensor.detach()[m] for name, tensor in trainer.params.named()}
    for i in trainer.stack.network.layers_with_statistics:
        running = trainer.running[i]
        assert running is not None
        found |= {f"mean{i + 1}": running.mean[m], f"{running.measure}{i + 1}": running.spread[m]}
    return found


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether all tensors are equal to the last bit; a NaN equals a NaN."""
    return a.keys() == b.keys() and all(_same(a[k], b[k].view_as(a[k])) for k in a)


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(0.0), b.nan_to_num(0.0))


def params(
    setup: Network, vocabulary: int, seed: int = 0, dtype: torch.dtype = torch.float32, models: int = 1
) -> Params:
    """Random parameters, biases and gains off their usual constants, so that no term is zero by symmetry."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(models, *shape, generator=g, dtype=dtype)

    layers = []
    for layer, (fan_in, fan_out) in zip(setup.layers, setup.shapes(vocabulary), strict=True):
        layers.append(
            LayerParams(
                W=normal(fan_in, fan_out) / fan_in**0.5,
                b=0.3 * normal(1, fan_out) if layer.bias is not None else None,
                norm={name: (key == "gain") + 0.3 * normal(1, fan_out) for key, name, _ in layer.norm_parameters},
            )
        )
    return Params(normal(vocabulary, setup.embedding_size), tuple(layers))


def statistics(setup: Network, vocabulary: int, seed: int = 1) -> Statistics:
    """Random statistics for every layer with a norm of one model, the stds positive."""
    g = torch.Generator().manual_seed(seed)
    shapes = [
        (1, 1, fan_out) if layer.needs_statistics else None
        for layer, (_, fan_out) in zip(setup.layers, setup.shapes(vocabulary), strict=True)
    ]
    means = [None if s is None else torch.randn(s, generator=g) for s in shapes]
    stds = [None if s is None else 0.5 + torch.rand(s, generator=g) for s in shapes]
    return tuple(None if a is None or b is None else LayerStatistics(a, b) for a, b in zip(means, stds, strict=True))
