"""The fused engine against a literal torch loop, and against itself: other CPUs, other blocks, other neighbours."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding
from numba import njit

from study import codehash
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.training.engines import supported
from study.training.fused import compiled
from study.training.fused.block import train_block
from study.training.fused.kernels import kernel
from study.training.fused.kinds import LINEAR, RELU, TANH
from study.training.fused.layers import activate, pass_back
from study.training.fused.layout import Layout
from study.training.fused.scalar import tanh32

ROOT = Path(__file__).parents[3]
LIBRARY = kernel(math.tanh, math.exp, math.log, codehash.kernel_number())  # for float64
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda x: x}


def network(
    widths: tuple[int, ...] = (200,), norm: Any = "none", activation: Any = "tanh", bias: bool = True, **changes: Any
) -> Network:
    """The lecture's network with its output layer repaired, unless a field is changed."""
    b = Init(std=0.01) if bias else None
    hidden = tuple(Layer(Init(gain=1.0), b, norm, activation) for _ in widths)
    output = Layer(Init(std=0.01), Init(std=0.0), "none", "linear")
    fields = {"context": 3, "embedding_size": 10, "widths": widths, "embedding": Init(std=1.0)}
    return Network(**{**fields, "hidden": hidden, "output": output, **changes})


def draw(setup: Network, vocabulary: int, seed: int) -> dict[str, Any]:
    """Named parameters; biases and bngain off their usual constants, so that no gradient is zero by symmetry."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, place in Layout(setup, vocabulary).places.items():
        x = rng.standard_normal(place.shape)
        kind, level = name.rstrip("0123456789"), int(name.lstrip("CWbngaisemtd") or 1)
        layer, (fan_in, fan_out) = setup.layers[level - 1], setup.shapes(vocabulary)[level - 1]
        scaled = {
            "C": x,
            "W": layer.weight.settings.scaled(x, fan_in, fan_out),
            "bngain": 1 + 0.1 * x,
            "mean": 0 * x,
            "std": 0 * x + 1,
        }
        arrays[name] = np.float32(scaled.get(kind, 0.1 * x))
    return arrays


def split(setup: Network, vocabulary: int, seed: int, examples: int = 3000) -> tuple[Any, Any]:
    """X (N, T) and Y (N,) of random characters, some much more frequent than others as in names."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, vocabulary + 1)
    share /= share.sum()
    X = rng.choice(vocabulary, (examples, setup.context), p=share)
    return X.astype(np.int32), rng.choice(vocabulary, examples, p=share).astype(np.int32)


def minibatches(rows: int, steps: int, batch: int, seed: int = 5) -> Any:
    return np.random.default_rng(seed).integers(0, rows, (steps, batch)).astype(np.int32)


def train(
    setup: Network,
    vocabulary: int,
    arrays: Any,
    X: Any,
    Y: Any,
    indices: Any,
    lr: Any,
    dtype: Any = np.float32,
    by: Any = None,
) -> Any:
    """(named arrays, losses (steps,)) by the fused engine, in one block, or `by` a kernel with other functions."""
    layout, loss = Layout(setup, vocabulary), np.zeros(len(indices), dtype)
    buffer = layout.pack(arrays, dtype)
    train_block(layout, buffer, X, Y, indices, np.full(len(indices), lr, dtype), loss, by or compiled.train())
    return layout.unpack(buffer), loss


def lecture(setup: Network, arrays: Any, X: Any, Y: Any, indices: Any, lr: float, dtype: Any = torch.float32) -> Any:
    """(named arrays, losses (steps,)) by the lecture's loop: one model, torch autograd, an operation a line."""
    p = {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}
    trained = [name for name in p if not name.startswith(("mean", "std"))]
    X, Y, losses = torch.from_numpy(X).long(), torch.from_numpy(Y).long(), []
    for rows in torch.from_numpy(indices).long():
        for name in trained:
            p[name].requires_grad_(True)
            p[name].grad = None
        h = p["C"][X[rows]].flatten(1)
        for level, layer in enumerate(setup.layers, 1):
            h = h @ p[f"W{level}"]
            if layer.bias is not None:
                h = h + p[f"b{level}"]
            if layer.norm == "batch":
                mean, std = h.mean(0, keepdim=True), h.std(0, keepdim=True)
                h = p[f"bngain{level}"] * (h - mean) / std + p[f"bnbias{level}"]
                with torch.no_grad():
                    p[f"mean{level}"] = 0.999 * p[f"mean{level}"] + 0.001 * mean
                    p[f"std{level}"] = 0.999 * p[f"std{level}"] + 0.001 * std
            h = ACTIVATIONS[layer.activation](h)
        loss = torch.nn.functional.cross_entropy(h, Y[rows])
        loss.backward()
        for name in trained:
            p[name].data += -lr * p[name].grad
        losses.append(loss.item())
    return {name: tensor.detach().numpy() for name, tensor in p.items()}, np.array(losses)


def distance(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Largest difference of any array relative to that array's largest entry."""
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-3)) for name in ours)


@st.composite
def setups(draw: st.DrawFn) -> tuple[Network, int, int]:
    """(any supported network, vocabulary, batch): depth 0 to 4, widths and sizes on both sides of the vector length."""

    def layer(output: bool) -> Layer:
        norm = draw(st.sampled_from(["none", "batch"]))
        activation = draw(st.sampled_from(["linear", "tanh"] if output else ["tanh", "relu", "linear"]))
        bias = draw(st.sampled_from([None, Init(std=0.1)]))
        return Layer(draw(st.sampled_from([Init(gain=1.0), Init(gain=5 / 3)])), bias, norm, activation)

    widths = tuple(draw(st.lists(st.integers(4, 70), max_size=4)))
    hidden, output = tuple(layer(False) for _ in widths), layer(True)
    sizes = {"context": draw(st.integers(1, 5)), "embedding_size": draw(st.integers(2, 20))}
    setup = Network(**sizes, widths=widths, embedding=Init(std=1.0), hidden=hidden, output=output)
    # BatchNorm divides by the std of a batch, which is near 0 for a few alike contexts and then amplifies any rounding.
    normed = any(layer.norm == "batch" for layer in setup.layers)
    return setup, draw(st.integers(5, 70)), draw(st.integers(24 if normed else 1, 60))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(setups(), st.integers(0, 1000))
def test_one_step_agrees_with_autograd_for_any_setup(drawn: tuple[Network, int, int], seed: int) -> None:
    setup, vocabulary, batch = drawn
    arrays, (X, Y) = draw(setup, vocabulary, seed), split(setup, vocabulary, seed)
    indices = minibatches(len(Y), 1, batch)
    ours, loss = train(setup, vocabulary, arrays, X, Y, indices, 0.1)
    theirs, their_loss = lecture(setup, arrays, X, Y, indices, 0.1)
    assert distance(ours, theirs) < 1e-5  # some tens of float32 roundings of 6e-8
    assert loss == pytest.approx(their_loss, rel=1e-5)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(setups(), st.integers(0, 1000))
def test_float64_gradients_agree_with_autograd_for_any_setup(drawn: tuple[Network, int, int], seed: int) -> None:
    """The same code in float64 with the library's tanh, exp and log: what is left is the algebra."""
    setup, vocabulary, batch = drawn
    arrays, (X, Y) = draw(setup, vocabulary, seed), split(setup, vocabulary, seed)
    indices = minibatches(len(Y), 1, batch)
    ours, _ = train(setup, vocabulary, arrays, X, Y, indices, 1.0, np.float64, LIBRARY)  # rate 1: the gradient
    theirs, _ = lecture(setup, arrays, X, Y, indices, 1.0, torch.float64)
    assert distance(ours, theirs) < 1e-9


@pytest.mark.parametrize(("norm", "bias"), [("none", True), ("batch", False), ("batch", True)])
@pytest.mark.parametrize("widths", [(200,), (50, 60, 70)])
def test_hundred_steps_agree_with_autograd(widths: tuple[int, ...], norm: str, bias: bool) -> None:
    setup = network(widths, norm, bias=bias)
    arrays, (X, Y) = draw(setup, 27, 1), split(setup, 27, 2)
    indices = minibatches(len(Y), 100, 32)
    ours, loss = train(setup, 27, arrays, X, Y, indices, 0.1)
    theirs, their_loss = lecture(setup, arrays, X, Y, indices, 0.1)
    assert distance(ours, theirs) < 1e-5  # training does not amplify rounding once the output layer is repaired
    assert loss == pytest.approx(their_loss, rel=1e-5)


def test_zero_output_layer_has_the_loss_of_a_uniform_guess() -> None:
    setup = network()
    arrays, (X, Y) = draw(setup, 27, 1), split(setup, 27, 2)
    arrays |= {"W2": 0 * arrays["W2"], "b2": 0 * arrays["b2"]}
    _, loss = train(setup, 27, arrays, X, Y, minibatches(len(Y), 1, 32), 0.1)
    assert loss[0] == pytest.approx(np.log(27), rel=1e-6)  # one rounded logarithm, 32 rounded additions


def test_rate_zero_changes_running_statistics_only() -> None:
    setup = network((33,), "batch")
    arrays, (X, Y) = draw(setup, 27, 1), split(setup, 27, 2)
    after, _ = train(setup, 27, arrays, X, Y, minibatches(len(Y), 3, 32), 0.0)
    assert {name for name in arrays if not np.array_equal(after[name], arrays[name])} == {"mean1", "std1"}


def test_diverged_training_ends_in_nan_and_not_in_a_plausible_number() -> None:
    setup = network((33,))
    arrays, (X, Y) = draw(setup, 27, 1), split(setup, 27, 2)
    _, loss = train(setup, 27, arrays, X, Y, minibatches(len(Y), 20, 32), 1e30)
    assert np.isnan(loss[-1])


def test_block_length_does_not_change_a_bit() -> None:
    setup = network((40, 30), "batch")
    layout, arrays, (X, Y) = Layout(setup, 27), draw(setup, 27, 1), split(setup, 27, 2)
    indices, lr = minibatches(len(Y), 90, 32), np.linspace(0.1, 0.01, 90, dtype=np.float32)
    buffers, losses = [layout.pack(arrays) for _ in range(2)], np.zeros((2, 90), np.float32)
    for buffer, loss, block in zip(buffers, losses, (90, 7), strict=True):
        for start in range(0, 90, block):
            now = slice(start, start + block)
            train_block(layout, buffer, X, Y, indices[now], lr[now], loss[now], compiled.train())
    assert np.array_equal(buffers[0], buffers[1])
    assert np.array_equal(losses[0], losses[1])


def test_neighbours_and_threads_do_not_change_a_bit() -> None:
    setup = network((40, 30))
    X, Y = split(setup, 27, 2)
    indices = minibatches(len(Y), 200, 32)

    def digest(seed: int) -> str:
        after, _ = train(setup, 27, draw(setup, 27, seed), X, Y, indices, 0.1)
        return hashlib.sha256(b"".join(array.tobytes() for array in after.values())).hexdigest()

    alone = [digest(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(digest, range(6)))
    assert together == alone
    assert len(set(alone)) == 6


def test_pack_then_unpack_gives_the_arrays_back() -> None:
    setup = network((5, 16, 600), "batch", context=2, embedding_size=3)
    layout, arrays = Layout(setup, 30), draw(setup, 30, 1)
    assert list(layout.places)[:7] == ["C", "W1", "b1", "bngain1", "bnbias1", "mean1", "std1"]
    after = layout.unpack(layout.pack(arrays))
    assert all(np.array_equal(after[name], array) for name, array in arrays.items())


def test_indices_and_characters_out_of_range_are_refused() -> None:
    setup = network((5,))
    arrays, (X, Y) = draw(setup, 27, 1), split(setup, 27, 2)
    with pytest.raises(AssertionError, match="indices 3000–3000, expected 0–2999"):
        train(setup, 27, arrays, X, Y, np.full((1, 32), len(Y), np.int32), 0.1)
    with pytest.raises(AssertionError, match="X 26–52, expected 0–26"):
        train(setup, 27, arrays, X + 26, Y, minibatches(len(Y), 1, 32), 0.1)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_every_kind_of_layer_has_its_kernel(norm: str, activation: str) -> None:
    assert supported(network((100,) * 5, norm, activation)) is None


def test_the_kernel_refuses_the_code_of_an_activation_that_it_does_not_know() -> None:
    h, tanh = np.ones(4, np.float32), njit(tanh32)
    for code in (-1, max(LINEAR, TANH, RELU) + 1):
        with pytest.raises(AssertionError, match="an activation that the kernel does not know"):
            activate(h, code, tanh)
        with pytest.raises(AssertionError, match="an activation that the kernel does not know"):
            pass_back(h, h, code)


def test_importing_the_engine_imports_neither_torch_nor_numba() -> None:
    code = "import sys, study.training.fused.block; print([m for m in ('torch', 'numba') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"


def fingerprint() -> str:
    """sha256 of all parameters and losses of short trainings: plain, BatchNorm, deep with odd sizes, narrow and wide."""
    digest = hashlib.sha256()
    deep = network((50, 33, 20), "batch", "relu", context=2, embedding_size=17)
    uneven = network((7, 512), activation="linear")
    plain, normed = network(), network(norm="batch", bias=False)
    for setup, batch, steps in ((plain, 32, 1000), (normed, 32, 300), (deep, 37, 100), (uneven, 32, 100)):
        X, Y = split(setup, 27, 2)
        arrays, loss = train(setup, 27, draw(setup, 27, 1), X, Y, minibatches(len(Y), steps, batch), 0.1)
        for array in (*arrays.values(), loss):
            digest.update(array.tobytes())
    return digest.hexdigest()


def other_cpus() -> dict[str, str]:
    """Kinds of CPU whose code this one can run, and the features that Numba is told of: those by which tiles differ."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):  # vectors of 8 for 16 and the tiles of a smaller register file; Intel's scheduling
        return {"haswell": "", "skylake-avx512": "+avx512f"}
    return {"nehalem": ""} if features.get("sse4.2") else {}  # vectors of 4, fused multiply-add in software


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Fingerprints of code compiled for other CPUs, under way in processes of their own."""
    command = [sys.executable, "-c", "from tests.training.fused.test_block import fingerprint; print(fingerprint())"]
    found = {}
    for cpu, features in other_cpus().items():
        folder = str(tmp_path_factory.mktemp(cpu))
        changes = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": folder}
        found[cpu] = subprocess.Popen(command, cwd=ROOT, env=os.environ | changes, stdout=subprocess.PIPE, text=True)
    yield found
    for process in found.values():
        process.kill()
        process.wait()


def test_a_second_process_compiles_nothing() -> None:
    fingerprint()
    code = """
from tests.training.fused.test_block import fingerprint
from study import codehash
from study.training.fused import compiled
fingerprint()
train = compiled.train()
print(sum(train.stats.cache_hits.values()), sum(train.stats.cache_misses.values()))
"""
    counts = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert counts.split() == ["1", "0"]  # loaded once, compiled never


@pytest.mark.slow
def test_what_is_compiled_ahead_is_what_training_calls(tmp_path: Path) -> None:
    code = """
from study import codehash
from study.training.fused import compiled
print(compiled.cached())
compiled.warm()
print(compiled.cached(), len(compiled.train().signatures))
from tests.training.fused.test_block import fingerprint
fingerprint()
print(len(compiled.train().signatures))
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True)
    assert found.split() == ["False", "True", "1", "1"]


@pytest.mark.slow
def test_code_compiled_for_another_cpu_gives_the_same_bits(elsewhere: dict[str, subprocess.Popen[str]]) -> None:
    if not elsewhere:
        pytest.skip("no other kind of CPU whose code this one can run")
    found = {cpu: process.communicate(timeout=150)[0].strip() for cpu, process in elsewhere.items()}
    assert found == dict.fromkeys(found, fingerprint())
