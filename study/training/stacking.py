"""The test whether the models of a stack, multiplied together, get the bits that each of them gets alone."""

from __future__ import annotations

import torch
from torch import Tensor

from study.training.cells import Stack

# `stackable` compares at least this many entries of a product: another kernel may change only 1 in 200 of them.
ENTRIES = 5000


def stackable(stack: Stack, vocabulary: int, device: str = "cpu") -> bool:
    """Whether a batched product of this stack's shapes gives each model the bits that it gets alone, on this machine.

    It does for all but small odd shapes (for example a batch of 5 into a width of 7), where the BLAS selects its kernel
    by the address of a model's matrix. Such stacks are trained model by model, and the numbers are the same either way.
    So are models of a kind that has M = 1.
    """
    M, N = len(stack.cells), stack.schedule.batch_size
    if M > 1 and not stack.network.model.stacks:
        return False
    if M == 1 or device != "cpu":
        return True
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    for fan_in, fan_out in stack.network.shapes(vocabulary):
        smallest = M * min(N * fan_in, N * fan_out, fan_in * fan_out)
        for _ in range(min(-(-ENTRIES // smallest), 200)):
            x, W, g = normal(M, N, fan_in), normal(M, fan_in, fan_out), normal(M, N, fan_out)
            # the products of a layer: forward, for the gradient of its input, for the gradient of its weight
            for a, b in ((x, W), (g, W.transpose(1, 2)), (x.transpose(1, 2), g)):
                together = torch.bmm(a, b)
                for m in range(M):
                    # The transposed matrices stay views, as they are in autograd. Each copy has memory of its own.
                    alone = torch.bmm(_copy(a, m), _copy(b, m))
                    if not torch.equal(together[m : m + 1], alone):
                        return False
    return True


def _copy(stacked: Tensor, m: int) -> Tensor:
    """A copy of model m in memory of its own, in the same layout, (1, rows, columns)."""
    part = stacked[m : m + 1]
    return part.clone() if part.is_contiguous() else part.transpose(1, 2).clone().transpose(1, 2)
