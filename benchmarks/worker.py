"""Run peers in a process on given cores, which answers requests: a JSON object per line in, one per line out.

- make {key, work} -> {"absent": reason or null, "block": steps, "model_steps": number, "note": text}
- draw {key, steps} -> {}: the minibatches of the next steps, not timed
- run {key, steps} -> {"seconds": number, "cpu_seconds": number}
- curve {key, steps} -> {"first": per model, "last": per model}: mean losses at the ends, in nats
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any

ONE_THREAD = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")},
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
END = 100  # the steps at each end of a curve that are averaged


def main(name: str, cores: list[int]) -> None:
    """Answer requests for the peer `name` until the input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the output of libraries goes to stderr
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before anything starts a thread
    import torch

    torch.set_num_threads(1)
    serve(name, cores, sys.stdin, out)


def serve(name: str, cores: list[int], requests: IO[str], out: IO[str]) -> None:
    """Yield an answer per request, in order."""
    from benchmarks.peers import PEERS, AbsentError, Peer
    from benchmarks.work import Work

    made: dict[str, Peer] = {}

    def make(work: dict[str, Any]) -> Peer:
        widths = work["widths"] and tuple(work["widths"])
        return PEERS[name].make(Work(work["norm"], work["models"], widths), cores)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "make":
            try:
                peer = made[request["key"]] = made.get(request["key"]) or make(request["work"])
            except AbsentError as error:
                return {"absent": str(error)}
            note = f"by {peer.library}" if hasattr(peer, "library") else ""
            return {"absent": None, "block": peer.block, "model_steps": peer.model_steps, "note": note}
        peer, steps = made[request["key"]], request["steps"]
        if request["do"] == "curve":
            return ends(peer, steps)
        if request["do"] == "draw":
            peer.draw(steps)
            return {}
        assert request["do"] == "run", request
        start, busy = time.perf_counter(), time.process_time()
        peer.run(steps)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy}

    for line in requests:
        out.write(json.dumps(answer(json.loads(line))) + "\n")


def ends(peer: Any, steps: int) -> dict[str, list[float]]:
    """The mean losses of the first and of the last hundred of the next `steps` steps, per model, in nats."""
    peer.draw(steps)
    losses = peer.run(steps)  # (M, steps)
    return {"first": losses[:, :END].mean(1).tolist(), "last": losses[:, -END:].mean(1).tolist()}


if __name__ == "__main__":
    main(sys.argv[1], [int(core) for core in sys.argv[2].split(",")])
