"""Cut a study down to some of its conditions, with the claims that are about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from study.errors import SpecError, suggest
from study.spec.claims import select
from study.spec.quantities import of_twins
from study.spec.records import Condition, Spec
from study.spec.schema import ClaimEntry


def only_conditions(spec: Spec, names: Sequence[str]) -> Spec:
    """The study with only some of its conditions.

    It has no published runs, no sweeps, no twins, and no claims about the other conditions.
    """
    written = [c for c in spec.conditions if not c.sweep]
    known = [c.name for c in written]
    for name in names:
        if name not in known:
            raise SpecError(f"--only: no condition '{name}'{suggest(name, known)}")
    kept = tuple(c for c in written if c.name in names)
    groups = {g: t for g, t in spec.groups.items() if any(c.group == g for c in kept)}
    claims = [cut for claim in spec.claims if (cut := _cut(claim, written, names)) is not None]
    whole = replace(spec, published=None, twins=None, sweeps=())
    return replace(whole, conditions=kept, groups=groups, claims=tuple(claims))


def _cut(claim: ClaimEntry, conditions: Sequence[Condition], names: Sequence[str]) -> ClaimEntry | None:
    """The part of a claim that is about the conditions that are kept.

    It is None where the claim needs another condition, a sweep or a twin.
    """
    if claim.measure.startswith("probe."):  # such a claim is about no condition, not even in `minus`
        return claim
    if claim.at == "best" or of_twins(claim.measure):
        return None
    other = claim.other
    chosen = select(conditions, claim.of)
    left = [c.name for c in chosen if c.name in names]
    if (chosen and not left) or (other is not None and other not in names):
        return None
    return claim if isinstance(claim.of, dict) or not left else claim.model_copy(update={"of": left})
