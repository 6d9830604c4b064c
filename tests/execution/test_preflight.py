"""What a run is told of its draws: hashes of the numbers themselves, whatever pieces they are drawn in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from study import rng
from study.execution import preflight
from study.rng import streams
from tests.support.tiny import load


@pytest.mark.parametrize("numbers", [1, 1000, 10**6])
def test_the_hash_of_draws_is_that_of_the_numbers_in_one_piece(
    numbers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rng, "NUMBERS", numbers)
    spec = load(tmp_path, {"seeds": [3], "conditions.zero.training": {"batch_size": 50}})
    words = spec.data.load(spec.folder)
    digest = hashlib.sha256()
    V = len(words.classes)
    for name, shape in (("C", (V, 3)), ("W1", (6, 8)), ("b1", (8,)), ("W2", (8, V)), ("b2", (V,))):
        digest.update(streams(3, "paired").normal(name, shape).numpy().tobytes())
    for size in (8, 50):
        digest.update(streams(3, "paired").indices(words.examples("train"), 1000, size).numpy().tobytes())
    assert preflight.draws(preflight.asked(spec, words, "cpu")) == {"3": digest.hexdigest()}
