"""Words become every (context, next character), and distinct contexts stand for all of them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.data.examples import Dataset, Split, make_split
from study.data.words import Vocabulary, Words
from study.measurement.evaluate import CHUNK, chunks
from tests.support.nets import network

VOCABULARY = Vocabulary((".", "a", "b", "c"))
WORDS = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=20)


def by_slicing(words: list[str], context: int) -> list[tuple[str, str]]:
    """(context, next character) of every position, by slicing the padded word."""
    padded = ["." * context + word + "." for word in words]
    return [(w[i - context : i], w[i]) for w in padded for i in range(context, len(w))]


def test_names_are_cut_as_the_lecture_does(names: Dataset) -> None:
    """The cell of the lecture's notebook that builds the data set, on the same file."""
    words = (Path(__file__).parents[2] / "data" / "names.txt").read_text().splitlines()
    stoi = {s: i + 1 for i, s in enumerate(sorted(set("".join(words))))} | {".": 0}

    def build(part: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        X, Y = [], []
        for w in part:
            context = [0] * 3
            for ch in w + ".":
                X.append(context)
                Y.append(stoi[ch])
                context = context[1:] + [stoi[ch]]  # noqa: RUF005 (the lecture's words)
        return torch.tensor(X), torch.tensor(Y)

    random.Random(42).shuffle(words)
    n1, n2 = int(0.8 * len(words)), int(0.9 * len(words))
    for name, part, size in (("train", words[:n1], 182625), ("dev", words[n1:n2], 22655), ("test", words[n2:], 22866)):
        X, Y = build(part)
        assert len(Y) == size  # printed by the lecture's notebook
        assert torch.equal(names.splits[name].X, X)
        assert torch.equal(names.splits[name].Y, Y)
    assert names.vocabulary == 27


@given(words=WORDS, context=st.integers(1, 8))
@settings(deadline=None, max_examples=60)
def test_a_split_holds_every_position_of_every_word(words: list[str], context: int) -> None:
    split = make_split(words, VOCABULARY, context)
    text = "".join(VOCABULARY.characters)
    found = [("".join(text[i] for i in x), text[y]) for x, y in zip(split.X.tolist(), split.Y.tolist(), strict=True)]
    assert found == by_slicing(words, context)
    assert split.X.shape == (len(found), context)


@given(words=WORDS, context=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_distinct_contexts_count_every_example_once(words: list[str], context: int) -> None:
    split = make_split(words, VOCABULARY, context)
    contexts, counts = split.piece(0, len(split.X))
    text = "".join(VOCABULARY.characters)
    found = {
        ("".join(text[i] for i in x), text[y]): int(n)
        for x, row in zip(contexts.tolist(), counts.tolist(), strict=True)
        for y, n in enumerate(row)
        if n
    }
    assert found == Counter(by_slicing(words, context))
    assert len(contexts) == len({c for c, _ in by_slicing(words, context)})


def test_the_names_have_few_distinct_contexts(names: Dataset) -> None:
    train = names.splits["train"]
    contexts, _, counts = train.distinct
    assert len(contexts) == len({tuple(x) for x in train.X.tolist()})
    assert int(counts.sum()) == len(train.Y)
    assert len(contexts) < len(train.Y) / 30


def test_words_know_their_examples(words: Words, names: Dataset) -> None:
    assert {name: words.examples(name) for name in words.splits} == {n: len(s.Y) for n, s in names.splits.items()}


@given(words=WORDS, size=st.integers(1, 30))
@settings(deadline=None, max_examples=40)
def test_pieces_are_parts_of_the_whole(words: list[str], size: int) -> None:
    split = make_split(words, VOCABULARY, 2)
    contexts, counts = split.piece(0, len(split.X))
    pieces = [split.piece(start, start + size) for start in range(0, len(contexts), size)]
    assert torch.equal(torch.cat([X for X, _ in pieces]), contexts)
    assert torch.equal(torch.cat([n for _, n in pieces]), counts)


def test_memory_follows_the_examples_not_the_square_of_a_large_vocabulary() -> None:
    """50,000 contexts of 20,000 characters: a table of contexts × characters would take 8 GB."""
    g = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(0, 20_000, (50_000, 2), generator=g), torch.randint(0, 20_000, (50_000,), generator=g), 20_000
    )
    X, counts = next(chunks(split, network((8,))))
    assert counts.numel() <= max(CHUNK, 32 * 20_000)  # 32 contexts at least
    assert counts.sum() == len(X)  # random contexts of two hardly ever repeat
