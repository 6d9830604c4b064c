"""The registry of peers, in the order of the table. Each one is loaded only by the process that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from benchmarks.work import Work


class Peer(Protocol):
    """The interface of a peer: models in training, or other work with which they are compared."""

    block: int  # the steps that are requested are multiples of it
    model_steps: float  # the number of model-steps in one step: that of the models

    def draw(self, steps: int) -> None:
        """Draw the minibatches of the next steps. This is not timed."""

    def run(self, steps: int) -> Any:
        """Take the next steps, and return their losses (M, steps) as an array. This is timed."""


class AbsentError(Exception):
    """The peer cannot run here. The message is the reason, which is shown in its row of the table."""


@dataclass(frozen=True)
class Entry:
    """A peer: its title in the table, the function that makes it on some cores, and how it is run."""

    title: str
    make: Callable[[Work, Sequence[int]], Peer]
    one_model: bool = False
    threads: bool = False  # one process with a thread per core, instead of a process per core
    trains: bool = True


PEERS: dict[str, Entry] = {}


def peer(name: str, title: str, **traits: bool) -> Callable[[Callable[[Work, Sequence[int]], Peer]], Any]:
    """Decorate the function that makes a peer, and register it. The order in the file is that in the table."""

    def register(make: Callable[[Work, Sequence[int]], Peer]) -> Any:
        PEERS[name] = Entry(title, make, **traits)
        return make

    return register


@peer("lecture", "the lecture's loop, torch eager", one_model=True)
def lecture(work: Work, cores: Sequence[int]) -> Peer:
    """Make the lecture's loop: one model, one operation per line."""
    from benchmarks.lecture import Lecture

    return Lecture(work)


@peer("torch.compile", "torch.compile of the stacked step")
def compiled(work: Work, cores: Sequence[int]) -> Peer:
    """Make the step under torch.compile. AbsentError: there is no C++ compiler, or it cannot compile the step."""
    from benchmarks import inductor

    reason = inductor.missing()
    if reason is not None:
        raise AbsentError(reason)
    made = inductor.Inductor(work)
    try:
        made.compile()
    except Exception as error:  # torch.compile fails in many ways; each is this peer's row, not the end of the run
        raise AbsentError(f"does not compile: {type(error).__name__}") from error
    return made


@peer("jax", "JAX, jit of scan over vmap")
def jax(work: Work, cores: Sequence[int]) -> Peer:
    """Make the step under JAX. AbsentError: JAX is not installed."""
    from benchmarks import xla

    reason = xla.missing()
    if reason is not None:
        raise AbsentError(reason)
    return xla.Scan(work)


@peer("autograd", "stacked autograd (ours)")
def autograd(work: Work, cores: Sequence[int]) -> Peer:
    """Make stacked autograd, the reference engine."""
    from benchmarks.ours import Autograd

    return Autograd(work)


@peer("fused", "fused (ours)", threads=True)
def fused(work: Work, cores: Sequence[int]) -> Peer:
    """Make the fused engine. AbsentError: Numba is not installed."""
    if not find_spec("numba"):
        raise AbsentError("Numba is not installed")
    from benchmarks.ours import Fused

    return Fused(work, cores)


@peer("limit", "the matrix products alone, at a large product's speed", trains=False)
def limit(work: Work, cores: Sequence[int]) -> Peer:
    """Make the limit, which no engine that does all these operations can beat."""
    from benchmarks.product import Product

    return Product(work)
