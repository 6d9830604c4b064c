"""Streams are keyed by seed and name, and by nothing else."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study import rng
from study.rng import Minibatches, blocks, generator, streams

PROTOCOLS = ["paired", "lecture"]


def test_a_paired_draw_depends_on_seed_and_name_only() -> None:
    draw = streams(3, "paired").normal("W1", (30, 200))
    late = streams(3, "paired")
    late.normal("C", (27, 10))
    late.indices(100, 5, 4)
    assert torch.equal(late.normal("W1", (30, 200)), draw)
    assert torch.equal(late.normal("W1", (30, 200)), draw)  # asking twice gives it twice
    assert not torch.equal(streams(4, "paired").normal("W1", (30, 200)), draw)
    assert not torch.equal(streams(3, "paired").normal("W2", (30, 200)), draw)


def test_minibatches_do_not_depend_on_the_parameters_drawn_before() -> None:
    with_bias, without = streams(3, "paired"), streams(3, "paired")
    with_bias.normal("b1", (200,))
    assert torch.equal(with_bias.indices(1000, 50, 32), without.indices(1000, 50, 32))


def test_the_lecture_draws_everything_from_one_generator_in_its_order() -> None:
    g = torch.Generator().manual_seed(2147483647)
    C, W1, b1 = (torch.randn(shape, generator=g) for shape in ((27, 10), (30, 200), (200,)))
    first, second = (torch.randint(0, 182625, (32,), generator=g) for _ in range(2))
    s = streams(2147483647, "lecture")
    assert torch.equal(s.normal("C", (27, 10)), C)
    assert torch.equal(s.normal("W1", (30, 200)), W1)
    assert torch.equal(s.normal("b1", (200,)), b1)
    assert torch.equal(s.indices(182625, 2, 32), torch.stack([first, second]))


def test_an_unknown_protocol_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="expected the protocol paired or lecture, got 'pared'"):
        streams(0, "pared")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(
    blocks=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    high=st.sampled_from([1, 2, 27, 182625, 2**31, 2**31 + 1]),
    batch_size=st.integers(1, 33),
)
@settings(deadline=None, max_examples=60)
def test_drawing_indices_in_blocks_changes_nothing(
    protocol: str, blocks: list[int], high: int, batch_size: int
) -> None:
    parts, whole = streams(5, protocol), streams(5, protocol)
    drawn = torch.cat([parts.indices(high, n, batch_size) for n in blocks])
    assert torch.equal(drawn, whole.indices(high, sum(blocks), batch_size))
    assert drawn.dtype == torch.int64
    assert bool(((drawn >= 0) & (drawn < high)).all())


def test_a_paired_draw_is_rounded_once_from_float64() -> None:
    exact = generator(7, "init.C").standard_normal((27, 10))
    drawn = streams(7, "paired").normal("C", (27, 10)).numpy()
    spacing = np.spacing(np.abs(drawn))
    assert np.all(np.abs(exact - drawn) <= spacing / 2)
    assert np.any(exact != drawn)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_draws_are_standard_normal(protocol: str) -> None:
    n = 400_000
    x = streams(0, protocol).normal("W1", (n,)).double()
    # five standard errors: of a mean 1/√n, of a variance √(2/n), of a fourth moment √(96/n)
    assert abs(float(x.mean())) < 5 / n**0.5
    assert abs(float((x**2).mean()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((x**4).mean()) - 3) < 5 * (96 / n) ** 0.5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_indices_are_uniform(protocol: str) -> None:
    high, n = 50, 200_000
    counts = torch.bincount(streams(1, protocol).indices(high, n // 20, 20).flatten(), minlength=high).double()
    chi2 = float(((counts - n / high) ** 2 / (n / high)).sum())
    # chi-squared with 49 degrees of freedom: mean 49, std √98; six of them
    assert abs(chi2 - (high - 1)) < 6 * (2 * (high - 1)) ** 0.5


def test_streams_do_not_touch_the_global_generators() -> None:
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    for protocol in PROTOCOLS:
        s = streams(0, protocol)
        s.normal("C", (5, 5))
        s.indices(10, 3, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)  # type: ignore[index]


def test_a_stream_is_philox_keyed_by_the_seed_and_the_sha256_of_its_name() -> None:
    """Written out, without hash() or anything else that differs between two processes."""
    name = struct.unpack("<8I", hashlib.sha256(b"init.W1").digest())
    literal = np.random.Generator(np.random.Philox(np.random.SeedSequence((3, *name))))
    assert np.array_equal(generator(3, "init.W1").standard_normal(1000), literal.standard_normal(1000))


def test_paired_minibatches_are_the_stream_called_batches() -> None:
    literal = generator(3, "batches").integers(182625, size=(10, 32))
    assert np.array_equal(streams(3, "paired").indices(182625, 10, 32).numpy(), literal)


# -- minibatches --------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(["take", "skip", "upcoming"]), st.integers(1, 9)), max_size=8),
    st.sampled_from(PROTOCOLS),
    st.sampled_from([1, 40, 10**6]),
)
@settings(deadline=None, max_examples=40)
def test_minibatches_are_those_of_the_streams_however_they_are_taken(
    moves: list[tuple[str, int]], protocol: str, numbers: int
) -> None:
    whole = torch.stack([streams(seed, protocol).indices(50, 100, 4) for seed in (0, 3)], dim=1)  # (steps, M, batch)
    found, step = Minibatches([streams(seed, protocol) for seed in (0, 3)], 50, 4), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rng, "NUMBERS", numbers)
        for move, steps in moves:
            if move == "upcoming":
                assert torch.equal(found.upcoming(), whole[step])
                continue
            if move == "take":
                assert torch.equal(found.take(steps), whole[step : step + steps])
            else:
                found.skip(steps)
            step += steps
    assert torch.equal(found.take(1)[0], whole[step])


@pytest.mark.parametrize(
    ("steps", "size", "most", "expected"),
    [
        (450, 8 * 32 * 3, 200, [200, 200, 50]),  # the lecture's batches: as many steps as are asked for
        (2000, 64, 1000, [1000, 1000]),
        (7, 182_625, 200, [5, 2]),
        (3, 10**7, 1000, [1, 1, 1]),
        (0, 5, 1000, []),
        (-3, 5, 1000, []),
    ],
)
def test_a_block_has_few_steps_where_minibatches_are_large(
    steps: int, size: int, most: int, expected: list[int]
) -> None:
    assert list(blocks(steps, size, most)) == expected
