"""A source of data: random digits, each followed by the sum of those before it, modulo ten."""

import random
from dataclasses import dataclass

from study.data.sequences import Sequences
from study.data.source import SourceKind, register


@dataclass(frozen=True)
class Sums:
    count: int = 1000  # the keys under `data:`, with their defaults
    length: int = 3
    seed: int = 0
    path: str | None = None
    about: str | None = "random digits and the last digit of their sum"

    def load(self, folder):
        draw = random.Random(self.seed)
        X = [[draw.randrange(10) for _ in range(self.length)] for _ in range(self.count)]
        return Sequences("0123456789", X, [sum(x) % 10 for x in X])


register(SourceKind("sums", Sums, noun="digit"))
