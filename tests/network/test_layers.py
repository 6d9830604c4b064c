"""The sizes of a network."""

from __future__ import annotations

from tests.support.nets import network


def test_shapes_follow_sizes_and_vocabulary() -> None:
    assert network((200, 50), context=4, embedding=6).shapes(31) == [(24, 200), (200, 50), (50, 31)]
