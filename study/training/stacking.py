"""Whether the models of a stack, multiplied together, get the bits that each of them gets alone."""

from __future__ import annotations

import torch
from torch import Tensor

from study.training.cells import Stack

ENTRIES = 5000  # of a product that stackable compares at least: another kernel may change 1 in 200 of them, no more


def stackable(stack: Stack, vocabulary: int, device: str = "cpu") -> bool:
    """Whether a batched product of this stack's shapes gives each model the bits that it gets alone, on this machine.

    It does for all but small odd shapes (a batch of 5 into a width of 7, say), where the BLAS picks another kernel by
    the address of a model's matrix. Such stacks are trained model by model; the numbers are the same either way.
    """
    M, N = len(stack.cells), stack.schedule.batch_size
    if M == 1 or device != "cpu":
        return True
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    for fan_in, fan_out in stack.network.shapes(vocabulary):
        smallest = M * min(N * fan_in, N * fan_out, fan_in * fan_out)
        for _ in range(min(-(-ENTRIES // smallest), 200)):
            x, W, g = normal(M, N, fan_in), normal(M, fan_in, fan_out), normal(M, N, fan_out)
            # the products of a level: forward, for its input's gradient, for its weight's gradient
            for a, b in ((x, W), (g, W.transpose(1, 2)), (x.transpose(1, 2), g)):
                together = torch.bmm(a, b)
                for m in range(M):
                    # the transposes stay views, as they are in autograd; the clones lie where memory of their own lies
                    alone = torch.bmm(_copy(a, m), _copy(b, m))
                    if not torch.equal(together[m : m + 1], alone):
                        return False
    return True


def _copy(stacked: Tensor, m: int) -> Tensor:
    """Model m in memory of its own, in the same layout."""
    part = stacked[m : m + 1]
    return part.clone() if part.is_contiguous() else part.transpose(1, 2).clone().transpose(1, 2)
