"""An initialiser: every entry is + size or − size, by the sign of a normal draw."""

from dataclasses import dataclass

from study.network.inits import Initialiser, register


@dataclass(frozen=True)
class SignOptions:
    """The size of every entry, written as {signs: 0.3}."""

    size: float


def draw(options, streams, place, facts):
    return options.size * streams.normal(place.name, place.shape).sign()  # place.shape: (fan_in, fan_out) of a weight


def scale(options, fan_in, fan_out):
    return options.size


register(
    Initialiser("signs", draw, scale, words=lambda options: f"signs of size {options.size:g}", options=SignOptions)
)
