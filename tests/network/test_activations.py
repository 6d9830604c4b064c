"""Every activation against torch, and its entry against mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from study.errors import SpecError
from study.network.activations import ACTIVATIONS, Activation, in_torch, register

# through all places at which an activation bends, and far beyond
Z = torch.cat([torch.linspace(-40, 40, 80_001, dtype=torch.float64), torch.tensor([1e-300, -1e-300, 1e-8, 700.0])])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_phi_is_torchs_to_four_units_in_the_last_place(name: str) -> None:
    z = Z[Z <= 20] if name == "softplus" else Z  # torch's softplus turns linear at 20
    theirs, ours = in_torch(name)(z).numpy(), ACTIVATIONS[name].phi(z.numpy())
    scale = np.maximum(np.abs(z.numpy()), np.abs(theirs))
    assert (np.abs(ours - theirs) <= 4 * np.spacing(scale)).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_what_autograd_finds(name: str) -> None:
    z = (Z[Z <= 20] if name == "softplus" else Z).clone().requires_grad_()
    (theirs,) = torch.autograd.grad(in_torch(name)(z).sum(), z)
    # a few roundings of numbers of order one; the tanh form of GELU multiplies by z³
    np.testing.assert_allclose(ACTIVATIONS[name].slope(z.detach().numpy()), theirs.numpy(), atol=3e-14, rtol=1e-14)


@pytest.mark.parametrize("name", [name for name, one in ACTIVATIONS.items() if one.gain is not None])
def test_gains_are_those_of_torch(name: str) -> None:
    assert ACTIVATIONS[name].gain == torch.nn.init.calculate_gain(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name, one in ACTIVATIONS.items() if one.gain is None])
def test_torch_knows_no_other_gain(name: str) -> None:
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        torch.nn.init.calculate_gain(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_bounded_means_within_one(name: str) -> None:
    assert ACTIVATIONS[name].bounded == bool((in_torch(name)(Z).abs() <= 1).all())


def entry(**changed: Any) -> Activation:
    fields = {"name": "cube", "torch": lambda z: z**3, "phi": lambda z: z**3, "slope": lambda z: 3 * z * z}
    return Activation(**{**fields, **changed})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a name that is taken": ({"name": "tanh"}, "'tanh': the name is taken; choose another one"),
    "the word none": ({"name": "none"}, "expected a name of printable characters that is not none, got 'none'"),
    "no torch": ({"torch": "cube"}, "torch: expected a name such as 'torch.tanh', or a function, got 'cube'"),
    "no function": ({"phi": None}, "phi: expected a function of a NumPy array, got None"),
    "NaN at 0": ({"phi": lambda z: z / z}, "phi: expected a finite number at 0 for an array of one number, got [nan]"),
    "another shape": ({"slope": lambda z: 3.0}, "slope: expected a finite number at 0 for an array of one number"),
    "an error": ({"phi": lambda z: z.cube()}, "phi: raises AttributeError at 0 ("),
}


@pytest.mark.parametrize(("changed", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_entry_that_cannot_serve_is_refused_with_its_line(changed: dict[str, Any], message: str) -> None:
    before = dict(ACTIVATIONS)
    with pytest.raises(SpecError) as refusal:
        register(entry(**changed))
    assert str(refusal.value).startswith(f"{__file__}:")
    assert message in str(refusal.value)
    assert before == ACTIVATIONS
