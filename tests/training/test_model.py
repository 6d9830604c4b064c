"""A plain torch.nn.Module behind the protocol of a model: it trains, is resumed and is measured as any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from study.data.examples import Split
from study.errors import SpecError
from study.execution.shard import train_shard
from study.measurement.rows import Request
from study.network.inits import Facts, Init
from study.network.layers import Layer, Network
from study.network.mlp import example_loss
from study.network.model import MODELS, Activations, LayerTrace, ModelKind, Named, register
from study.network.norms import Statistics
from study.rng import Streams
from study.training.autograd import Trainer
from study.training.cells import Cell, Stack
from study.training.engines import choose
from study.training.loop import train
from study.training.stacking import stackable
from study.training.trajectory import NEW, Lacking, Trajectory
from tests.support.nets import cell, dataset

V, T, E, H = 9, 3, 4, 8


def module(seed: int) -> nn.Sequential:
    """A network as anybody would write it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Embedding(V, E), nn.Flatten(), nn.Linear(T * E, H), nn.Tanh(), nn.Linear(H, V))


def points(net: nn.Module, params: Mapping[str, Tensor], X: Tensor) -> dict[str, Tensor]:
    """The outputs of every module inside a network by its name, for contexts X (N, T)."""
    found = dict[str, Tensor]()

    def keep(name: str, output: Tensor) -> None:
        found[name] = output

    hooks = [
        part.register_forward_hook(lambda part, inputs, output, name=name: keep(name, output))
        for name, part in net.named_children()
    ]
    functional_call(net, dict(params), (X,))
    for hook in hooks:
        hook.remove()
    return found


class Behind:
    """The module as a model: M = 1, with the points `preact` and `h` of its hidden layer."""

    net = module(0)
    example_loss = staticmethod(example_loss)

    def initialise(
        self,
        setups: Sequence[Network],
        vocabulary: int,
        streams: Sequence[Streams],
        device: str = "cpu",
        twins: Sequence[bool] = (),
        facts: Facts = Facts(),  # noqa: B008 (it is frozen)
    ) -> Named:
        (random,) = streams  # M = 1
        seed = int(random.normal("module", (1,)).abs() * 1e6)
        return Named({name: tensor.detach()[None] for name, tensor in module(seed).named_parameters()})

    def fresh_statistics(self, params: Named, network: Network) -> Statistics:
        return (None, None)

    def forward(
        self,
        params: Named,
        network: Network,
        X: Tensor,
        statistics: Statistics | None = None,
        batch: int | None = None,
        depth: int | None = None,
    ) -> Activations:
        own = {name: tensor[0] for name, tensor in params.named()}
        at = {name: tensor[None] for name, tensor in points(self.net, own, X.view(-1, T)).items()}
        return Activations((LayerTrace(at["2"], None, at["2"], at["3"]), LayerTrace(at["4"], None, at["4"], at["4"])))

    def stacked(
        self, models: Sequence[Mapping[str, NDArray[np.float32]]], network: Network, device: str = "cpu"
    ) -> tuple[Named, Statistics]:
        (only,) = models
        return Named({name: torch.from_numpy(array.copy())[None] for name, array in only.items()}), (None, None)


KIND = ModelKind(
    "plain module", "a plain module", Behind, lambda network, V: [(T * E, H), (H, V)], layered=False, stacks=False
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register(KIND)
    yield
    del MODELS[KIND.name]


def plain(seed: int = 0, steps: int = 30) -> Cell:
    layer, output = Layer(Init(std=1.0), None), Layer(Init(std=1.0), None, activation="linear")
    return cell(Network(T, E, (H,), None, (layer,), output, KIND.name), seed, steps)


def started(one: Cell, data: Split) -> tuple[nn.Sequential, Trainer]:
    """The trainer of a cell, and a module of torch with the same parameters."""
    trainer, net = Trainer(Stack((one,)), data, V), module(0)
    net.load_state_dict({name: tensor.detach()[0].clone() for name, tensor in trainer.params.named()})
    return net, trainer


def sgd(net: nn.Sequential, X: Tensor, Y: Tensor, lr: float = 0.1) -> float:
    """A step of SGD as torch's tutorial writes it; the loss before it."""
    loss = F.cross_entropy(net(X), Y)
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    with torch.no_grad():
        for p, gradient in zip(net.parameters(), gradients, strict=True):
            p += -lr * gradient
    return float(loss.detach())


def literal(one: Cell, data: Split) -> tuple[nn.Sequential, list[float]]:
    """The module after a literal loop over the cell's own minibatches, and its losses."""
    net, looking = started(one, data)
    losses = []
    for step in range(one.schedule.steps):
        rows = looking.upcoming()[0]
        losses.append(sgd(net, data.X[rows], data.Y[rows]))
        looking.advance(step + 1)  # only for the next minibatch
    return net, losses


def test_a_module_trains_as_by_a_literal_loop() -> None:
    data, one = dataset(V, T).splits["train"], plain()
    net, losses = literal(one, data)
    trainer = Trainer(Stack((one,)), data, V)
    found = trainer.advance(30)
    assert found[0].tolist() == pytest.approx(losses, abs=1e-6)  # 32 terms, added up in another order
    for (name, own), tensor in zip(trainer.params.named(), net.state_dict().values(), strict=True):
        assert torch.equal(own.detach()[0], tensor), name


def test_a_module_continues_from_its_checkpoint_with_the_same_bits() -> None:
    data, one, kept = dataset(V, T).splits["train"], plain(), list[Trajectory]()

    def trained(gap: Lacking, before: Trajectory) -> Trajectory:
        stack = Stack((one,))
        for _ in train(stack, Trainer(stack, data, V), gap, [before], lambda cell, found: kept.append(found)):
            pass
        return kept[-1]

    whole = trained(Lacking(0, (10, 30)), NEW)
    half = trained(Lacking(0, (10,)), NEW)
    resumed = trained(Lacking(10, (30,)), half)
    assert resumed.encode() == whole.encode()


def test_a_module_is_measured_at_its_points() -> None:
    data, one = dataset(V, T), plain()
    rows = train_shard(Stack((one,)), data, Request((), (2,)))[one]
    net, _ = literal(one, data.splits["train"])
    end = {row["split"]: row["loss"] for row in rows.listed("losses") if row["step"] == 30}
    with torch.no_grad():
        for name, split in data.splits.items():
            # float64 sums over the distinct contexts against a float32 mean over all examples
            assert end[name] == pytest.approx(float(F.cross_entropy(net(split.X), split.Y)), abs=1e-5)
        at = points(net, dict(net.named_parameters()), data.splits["train"].X)
    measured = {
        (row["layer"], row["metric"]): row["value"]
        for row in rows.listed("metrics")
        if row["step"] == 30 and row.get("parameter") is None
    }
    assert measured[1, "preact_std"] == pytest.approx(float(at["2"].double().std(correction=0)), rel=1e-5)
    assert measured[1, "h_std"] == pytest.approx(float(at["3"].double().std(correction=0)), rel=1e-5)
    assert measured[None, "logit_std"] == pytest.approx(float(at["4"].double().std(correction=0)), rel=1e-5)
    gradients = {row["parameter"] for row in rows.listed("metrics") if row.get("parameter") is not None}
    assert gradients == {"0.weight", "2.weight", "2.bias", "4.weight", "4.bias"}
    assert {(row["layer"], row["quantity"]) for row in rows.listed("histograms")} == {
        (1, "preact"),
        (1, "h"),
        (2, "logits"),
    }


def test_modules_of_two_seeds_are_trained_one_after_the_other() -> None:
    data, cells = dataset(V, T), (plain(0), plain(1))
    assert not stackable(Stack(cells), V)
    together = train_shard(Stack(cells), data, Request((), (2,)))
    for one in cells:
        alone = train_shard(Stack((one,)), data, Request((), (2,)))[one]
        assert together[one].listed("cells") == alone.listed("cells")


def test_the_fused_engine_leaves_a_module_to_autograd_and_says_why() -> None:
    assert choose(plain()) == ("autograd", "the fused engine has no kernel for a plain module")


def test_a_taken_name_is_refused_with_the_line_that_makes_the_entry() -> None:
    with pytest.raises(SpecError, match=r"test_model\.py:\d+: model kind 'mlp': the name is taken"):
        register(ModelKind("mlp", "another", Behind, KIND.shapes))
