"""A model trained alone, in any stack, and by the lecture's literal loop: the same bits."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from study import rng
from study.data.examples import Dataset, Split
from study.execution.shard import train_shard
from study.measurement.rows import Request
from study.network.inits import Init
from study.network.layers import Network
from study.network.mlp import cross_entropy, forward
from study.spec.records import Spec
from study.training import autograd
from study.training.autograd import Trainer
from study.training.cells import Cell, Engine, Protocol, Stack
from study.training.stacking import stackable
from tests.support import lecture
from tests.support.nets import LECTURE, cell, dataset, flat, network, same, split, trained

# The reported loss of a model is a mean that a stack may sum in another order: 32 float32 terms, each rounded by 6e-8.
LOSS = 1e-5
PROTOCOLS: list[Protocol] = ["paired", "lecture"]
# Below this many multiplications torch's bmm runs a loop of its own, where x @ W calls the BLAS: other last bits.
BLAS = 400


def blas_agrees(one: Cell, vocabulary: int) -> bool:
    """Whether bmm of one model and x @ W give the same bits for every product of the network, on this machine."""
    N, g = one.schedule.batch_size, torch.Generator().manual_seed(0)
    for fan_in, fan_out in one.network.shapes(vocabulary):
        if N * fan_in * fan_out < BLAS:
            return False
        for _ in range(-(-5000 // min(N * fan_in, N * fan_out, fan_in * fan_out))):
            x, W, d = (torch.randn(shape, generator=g) for shape in ((N, fan_in), (fan_in, fan_out), (N, fan_out)))
            for a, b in ((x, W), (d, W.T), (x.T, d)):
                if not torch.equal(torch.bmm(a[None], b[None])[0], a @ b):
                    return False
    return True


def oracle(one: Cell, data: Split) -> tuple[dict[str, Tensor], Tensor]:
    tensors, losses = lecture.train(one, data.X, data.Y, data.vocabulary)
    return tensors, torch.tensor(losses)


# -- the lecture's network on the real data -----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["paired", "lecture"])
@pytest.mark.parametrize("normed", [False, True])
def test_a_stack_trains_every_condition_as_the_lectures_loop_does(
    normed: bool, protocol: Protocol, study: Spec, names: Dataset
) -> None:
    """Five conditions or four BatchNorm seeds side by side, 300 steps and a change of rate, real data and size."""
    data, schedule = names.splits["train"], ((0, 0.1), (200, 0.01))
    if normed:
        cells = [cell(study.condition("batchnorm").network, s, 300, lr=schedule, protocol=protocol) for s in range(4)]
    else:
        ladder = ("baseline", "fixed-output", "scaled-w1", "kaiming", "w1-zero")
        cells = [cell(study.condition(n).network, 3, 300, lr=schedule, protocol=protocol) for n in ladder]
    trainer, losses = trained(cells, data)
    for m, one in enumerate(cells):
        tensors, literal = oracle(one, data)
        assert same(flat(trainer, m), tensors), one
        torch.testing.assert_close(losses[m], literal, rtol=LOSS, atol=0)


def test_batchnorm_with_a_bias_trains_as_the_lectures_loop_does(study: Spec, names: Dataset) -> None:
    """The published run that kept b1 under BatchNorm."""
    assert study.published is not None
    setup = next(
        r.condition.network
        for r in study.published.runs
        if r.condition.network.layers_with_statistics and r.condition.network.hidden[0].bias
    )
    one, data = cell(setup, 2147483647, 200, protocol="lecture"), names.splits["train"]
    trainer, _ = trained([cell(setup, 1, 200, protocol="lecture"), one], data)
    assert same(flat(trainer, 1), oracle(one, data)[0])


def test_position_and_neighbours_do_not_matter(study: Spec, names: Dataset) -> None:
    data = names.splits["train"]
    one = cell(study.condition("kaiming").network, 3, 200)
    others = [cell(study.condition(n).network, s, 200) for n in ("baseline", "output-zero", "gain-one") for s in (0, 3)]
    alone = flat(trained([one], data)[0], 0)
    for position in (0, 3, 6):
        stack = [*others[:position], one, *others[position:]]
        assert stackable(Stack(tuple(stack)), 27)
        trainer, _ = trained(stack, data)
        assert same(flat(trainer, position), alone), position


def test_the_five_layer_network_trains_as_the_literal_loop_does(names: Dataset) -> None:
    data = names.splits["train"]
    for norm in ("none", "batch"):
        cells = [cell(network((100,) * 5, norm, bias=norm == "none"), seed, 100) for seed in range(3)]
        trainer, _ = trained(cells, data)
        for m, one in enumerate(cells):
            assert same(flat(trainer, m), oracle(one, data)[0])


# -- any network --------------------------------------------------------------------------------------------------


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[Cell], Split]:
    """One to five cells of one small odd graph, and data for them."""
    vocabulary, context = draw(st.integers(2, 30)), draw(st.integers(1, 4))
    widths = tuple(draw(st.lists(st.integers(1, 60), min_size=1, max_size=3)))
    setup = network(
        widths,
        draw(st.sampled_from(["none", "batch"])),
        draw(st.sampled_from(["tanh", "relu", "linear"])),
        draw(st.booleans()),
        context=context,
        embedding=draw(st.integers(1, 12)),
    )
    batch_size, protocol = draw(st.integers(2, 40)), draw(st.sampled_from(PROTOCOLS))
    cells = []
    for _ in range(draw(st.integers(1, 5))):
        output = replace(setup.output, weight=Init(gain=draw(st.floats(0.1, 1))))
        cells.append(
            cell(
                replace(setup, output=output),
                draw(st.integers(0, 99)),
                20,
                batch_size,
                ((0, 0.1), (10, 0.01)),
                protocol,
            )
        )
    return cells, split(vocabulary, context, 200)


def known_odd_one() -> tuple[list[Cell], Split]:
    """Shapes whose batched product differs from the lone one in rare last bits, on an AVX-512 machine with MKL."""
    setup = network((29, 59), activation="linear", context=4, embedding=9)
    return [cell(setup, seed, 20, 5) for seed in range(2)], split(5, 4, 200)


@given(stacks())
@example(known_odd_one())
@settings(deadline=None, max_examples=35)
def test_where_stackable_says_so_a_stack_gives_the_bits_of_each_alone(case: tuple[list[Cell], Split]) -> None:
    cells, data = case
    if stackable(Stack(tuple(cells)), data.vocabulary):
        trainer, _ = trained(cells, data)
        for m, one in enumerate(cells):
            assert same(flat(trainer, m), flat(trained([one], data)[0], 0))


@given(stacks())
@settings(deadline=None, max_examples=35)
def test_alone_is_the_literal_loop_where_both_call_the_blas(case: tuple[list[Cell], Split]) -> None:
    """To the last bit where a product of one model is the plain product; elsewhere to rounding, after one step.

    On an AVX-512 machine with MKL that is: to the last bit from 400 multiplications per product on, width 1 included.
    """
    (one, *_), data = case
    if blas_agrees(one, data.vocabulary):
        assert same(flat(trained([one], data)[0], 0), oracle(one, data)[0])
        return
    one = replace(one, schedule=replace(one.schedule, steps=1, lr=((0, 0.1),)))
    found, literal = flat(trained([one], data)[0], 0), oracle(one, data)[0]
    for name, tensor in literal.items():
        if one.network.layers_with_statistics and one.schedule.batch_size < 4:
            continue  # a pair of nearly equal examples divides by a std near 0, which magnifies any rounding
        # one step of values of order one: sums of at most 60 float32 terms, through at most four layers, and a
        # division by the std of at least four examples
        torch.testing.assert_close(found[name], tensor.view_as(found[name]), rtol=1e-3, atol=1e-4, equal_nan=True)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=10)
def test_a_shard_gives_the_bits_of_each_alone_whatever_stackable_says(seed: int) -> None:
    """train_shard trains model by model where a batched product would change bits."""
    r = random.Random(seed)
    setup = network(
        (r.randint(1, 30),), context=r.randint(1, 3), embedding=r.randint(1, 9), activation=r.choice(["tanh", "relu"])
    )
    data = dataset(r.randint(2, 12), setup.context, 60)
    cells = tuple(cell(setup, s, 12, 5) for s in range(3))
    reading = Request((), (2,))
    together = {one: rows.listed("cells") for one, rows in train_shard(Stack(cells), data, reading).items()}
    for one in cells:
        assert train_shard(Stack((one,)), data, reading)[one].listed("cells") == together[one]


def test_stackable_is_true_of_one_model_and_of_the_lectures_network() -> None:
    assert stackable(Stack((cell(network((7,)), batch_size=5),)), 27)
    assert stackable(Stack(tuple(cell(network(LECTURE), s) for s in range(8))), 27)


# -- blocks -------------------------------------------------------------------------------------------------------


@given(
    blocks=st.lists(st.integers(0, 60), max_size=5),
    at_once=st.sampled_from([1, 7, 60, 1000]),
    protocol=st.sampled_from(["paired", "lecture"]),
)
@settings(deadline=None, max_examples=12)
def test_blocks_of_any_length_give_the_same_bits(blocks: list[int], at_once: int, protocol: Protocol) -> None:
    cells, data = [cell(network(norm="batch"), s, 60, protocol=protocol) for s in range(2)], split()
    whole, losses = trained(cells, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autograd, "AT_ONCE", at_once)
        parts, in_blocks = trained(cells, data, tuple(sorted(blocks)))
    for m in range(2):
        assert same(flat(parts, m), flat(whole, m))
    assert torch.equal(in_blocks, losses)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_large_minibatches_are_drawn_a_few_steps_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, data = Stack(tuple(cell(network(norm="batch"), s, 30, batch_size=50) for s in range(2)), engine), dataset()
    whole = train_shard(stack, data, Request((), ()))
    drawn: list[int] = []
    before = rng.Paired.indices

    def indices(self: rng.Paired, high: int, steps: int, batch_size: int) -> Tensor:
        drawn.append(steps * batch_size)
        return before(self, high, steps, batch_size)

    monkeypatch.setattr(rng.Paired, "indices", indices)
    monkeypatch.setattr(rng, "NUMBERS", 1000)
    assert train_shard(stack, data, Request((), ())) == whole
    assert max(drawn) <= 1000 / 2  # of one model


def test_looking_ahead_uses_no_minibatch_up() -> None:
    one, data = cell(network(), steps=20), split()
    plain, _ = trained([one], data)
    curious = Trainer(Stack((one,)), data, data.vocabulary)
    for step in range(1, 21):
        rows = curious.upcoming()
        assert torch.equal(curious.upcoming(), rows)
        X, Y = data.X[rows], data.Y[rows]
        with torch.no_grad():
            expected = cross_entropy(forward(curious.params, one.network, X).logits, Y)
        assert torch.equal(curious.advance(step)[:, 0], expected)  # the minibatch that was seen is the one trained on
    assert same(flat(curious, 0), flat(plain, 0))


def test_advancing_to_where_it_is_does_nothing() -> None:
    trainer = Trainer(Stack((cell(network()), cell(network(), 1))), split(), 9)
    assert trainer.advance(0).shape == (2, 0)
    trainer.advance(10)
    assert trainer.advance(10).shape == trainer.advance(5).shape == (2, 0)
    assert trainer.step == 10


# -- what a step does ---------------------------------------------------------------------------------------------


def test_all_conditions_of_a_seed_meet_the_same_minibatches(study: Spec, names: Dataset) -> None:
    for seed in (0, 7):
        met: list[list[Tensor]] = []
        for condition in study.conditions:
            trainer = Trainer(Stack((cell(condition.network, seed, 5),)), names.splits["train"], 27)
            met.append([])
            for step in range(3):
                trainer.advance(step)
                met[-1].append(trainer.upcoming())
        for batches in met[1:]:
            assert all(torch.equal(a, b) for a, b in zip(batches, met[0], strict=True))


def test_running_statistics_are_the_average_of_std_not_of_variance() -> None:
    one, data = cell(network(norm="batch"), steps=40), split()
    trainer = Trainer(Stack((one,)), data, data.vocabulary)
    mean, std = torch.zeros(1, 1, 12, dtype=torch.float64), torch.ones(1, 1, 12, dtype=torch.float64)
    for step in range(40):
        X = data.X[trainer.upcoming()]
        with torch.no_grad():
            preact = forward(trainer.params, one.network, X).layers[0].preact.double()
        mean = 0.999 * mean + 0.001 * preact.mean(1, keepdim=True)
        std = 0.999 * std + 0.001 * preact.std(1, keepdim=True)
        trainer.advance(step + 1)
    # forty float32 roundings of values of order one against float64: 40 · 6e-8
    found = flat(trainer, 0)
    torch.testing.assert_close(found["mean1"].double(), mean[0], rtol=0, atol=3e-6)
    torch.testing.assert_close(found["std1"].double(), std[0], rtol=3e-6, atol=0)


def test_a_change_of_rate_takes_effect_at_its_step() -> None:
    data, setup = split(), network()
    low, changed = (
        trained([cell(setup, 0, 11, lr=lr)], data, (10,))[0] for lr in (((0, 0.1),), ((0, 0.1), (10, 0.01)))
    )
    before = flat(trained([cell(setup, 0, 10)], data)[0], 0)
    for name, tensor in before.items():
        step, smaller = flat(low, 0)[name] - tensor, flat(changed, 0)[name] - tensor
        # a tenth of the update, to the rounding of p (order one) in float32
        torch.testing.assert_close(smaller * 10, step, rtol=0, atol=1e-5)


def test_initial_scales_of_zero_keep_the_symmetry_they_should() -> None:
    """All zero after the embedding: only the output bias learns, as the gradient of everything else is exactly 0."""
    zero = Init(std=0.0)
    setup = network()
    setup = replace(
        setup,
        hidden=(replace(setup.hidden[0], weight=zero, bias=zero),),
        output=replace(setup.output, weight=zero, bias=zero),
    )
    trainer, _ = trained([cell(setup, 0, 50)], split())
    found = flat(trainer, 0)
    start = flat(Trainer(Stack((cell(setup, 0, 50),)), split(), 9), 0)
    assert [name for name in found if not torch.equal(found[name], start[name])] == ["b2"]


# -- divergence ---------------------------------------------------------------------------------------------------


def exploding(setup: Network) -> Network:
    """So large an output that the loss overflows."""
    return replace(setup, output=replace(setup.output, weight=Init(std=1e38)))


def test_a_diverged_neighbour_changes_no_bit() -> None:
    data, setup = split(), network((24,))
    cells = [cell(setup, 0, 40), cell(exploding(setup), 1, 40), cell(setup, 2, 40)]
    trainer, losses = trained(cells, data)
    assert not bool(torch.isfinite(losses[1]).any())
    for m in (0, 2):
        alone, loss = trained([cells[m]], data)
        assert same(flat(trainer, m), flat(alone, 0))
        assert torch.equal(losses[m : m + 1], loss)


def test_batchnorm_of_a_constant_has_no_std_and_diverges_at_once() -> None:
    setup = network(norm="batch", gain=0.0, bias=False)
    _, losses = trained([cell(setup, 0, 5)], split())
    assert bool(losses.isnan().all())
