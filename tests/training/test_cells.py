"""The records that identify a training."""

from __future__ import annotations

import pytest

from study.training.cells import Schedule, Stack
from tests.support.nets import LECTURE, cell, network


def test_a_scale_stays_in_the_stack_and_a_graph_splits_it() -> None:
    plain = network(LECTURE)
    assert plain.graph == network(LECTURE, gain=1.0, output=0.01).graph
    others = [network((100,)), network((200, 200)), network(LECTURE, norm="batch"), network(LECTURE, bias=False)]
    others += [network(LECTURE, activation="relu"), network(LECTURE, context=4), network(LECTURE, embedding=11)]
    assert all(other.graph != plain.graph for other in others)
    for other in others:
        with pytest.raises(AssertionError, match="one graph"):
            Stack((cell(plain), cell(other)))
    with pytest.raises(AssertionError, match="one schedule"):
        Stack((cell(plain), cell(plain, steps=31)))


def test_the_rate_in_force_is_that_of_the_last_start() -> None:
    schedule = Schedule(32, 10, ((0, 0.1), (3, 0.01), (7, 0.001)))
    assert [schedule.rate(step) for step in range(10)] == [0.1] * 3 + [0.01] * 4 + [0.001] * 3
