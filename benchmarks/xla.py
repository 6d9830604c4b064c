"""The step by JAX: `jit` of `lax.scan` over `vmap` of `value_and_grad`, where one call takes a block of steps."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.work import Minibatches, Work, examples, training_split
from study.network.layers import Network
from study.network.mlp import initialise
from study.rng import streams


def missing() -> str | None:
    """The reason why JAX cannot be used here. None: it can."""
    return None if find_spec("jax") else "JAX is not installed"


def make_block(network: Network, lr: float) -> Any:
    """The function block((params, running), X (N, T), Y (N,), rows (steps, M, batch)).

    It returns ((params, running), losses (steps, M)).
    """
    import jax
    import jax.numpy as jnp

    activations = {"tanh": jnp.tanh, "relu": jax.nn.relu, "linear": lambda x: x}

    def loss(params: Any, X: Any, Y: Any) -> tuple[Any, Any]:
        """The mean loss of one model on X (batch, T), Y (batch,), and the moments of its layers with BatchNorm."""
        x = params["C"][X].reshape(len(X), -1)  # (N, T·E)
        moments: dict[str, Any] = {}
        for i, layer in enumerate(network.layers, 1):
            x = x @ params[f"W{i}"]  # (N, H)
            if layer.bias is not None:
                x = x + params[f"b{i}"]
            if layer.norm == "batch":
                mean, std = x.mean(0, keepdims=True), x.std(0, keepdims=True, ddof=1)  # (1, H)
                x = params[f"bngain{i}"] * (x - mean) / std + params[f"bnbias{i}"]
                moments |= {f"mean{i}": mean, f"std{i}": std}
            else:
                assert layer.norm == "none", f"this peer does not know the norm {layer.norm}"
            x = activations[layer.activation](x)
        picked = jnp.take_along_axis(jax.nn.log_softmax(x), Y[:, None], axis=1)
        return -picked.mean(), moments

    every = jax.vmap(jax.value_and_grad(loss, has_aux=True))

    def block(state: Any, X: Any, Y: Any, rows: Any) -> Any:
        def step(state: Any, ix: Any) -> Any:
            params, running = state
            (losses, moments), gradients = every(params, X[ix], Y[ix])
            params = jax.tree.map(lambda p, g: p - lr * g, params, gradients)
            running = jax.tree.map(lambda r, m: 0.999 * r + 0.001 * m, running, moments)
            return (params, running), losses

        return jax.lax.scan(step, state, rows)

    return jax.jit(block, donate_argnums=0)


class Scan:
    """Models in training, all of them in one compiled scan per block."""

    block = 250

    def __init__(self, work: Work) -> None:
        import jax.numpy as jnp

        stack, split = work.stack, training_split()
        self.model_steps, self.minibatches = float(work.models), Minibatches(work)
        params = initialise(stack.setups, examples().vocabulary, [streams(c.seed, c.protocol) for c in stack.cells])
        arrays = {name: jnp.array(tensor.numpy()) for name, tensor in params.named()}
        running: dict[str, Any] = {}
        for i in stack.network.layers_with_statistics:
            like = arrays[f"W{i + 1}"][:, :1]  # (M, 1, H)
            running |= {f"mean{i + 1}": jnp.zeros_like(like), f"std{i + 1}": jnp.ones_like(like)}
        self.state = (arrays, running)
        self.X, self.Y = (jnp.array(t.numpy(), dtype=jnp.int32) for t in (split.X, split.Y))
        self.train = make_block(stack.network, work.schedule.rate(0))

    def draw(self, steps: int) -> None:
        """Draw the minibatches of the next steps."""
        self.minibatches.draw(steps)

    def run(self, steps: int) -> NDArray[np.float32]:
        """Take the next steps, and return their losses in nats, (M, steps)."""
        rows = self.minibatches.take(steps).numpy().astype(np.int32)
        losses = []
        for start in range(0, steps, self.block):
            self.state, block = self.train(self.state, self.X, self.Y, rows[start : start + self.block])
            losses.append(np.asarray(block))  # this waits for the block
        return np.concatenate(losses).T
