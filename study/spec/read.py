"""Turn a study file into a Spec. Only this module knows the order of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.spec.claims import check_claims, with_gradients
from study.spec.conditions import resolve_conditions
from study.spec.inheritance import group_titles, inherit
from study.spec.profiles import under_profile
from study.spec.published import resolve_published
from study.spec.records import FULL_PROFILE, Condition, Spec
from study.spec.schema import StudyEntry
from study.spec.study_file import StudyFile, Told, Trust, open_study
from study.spec.sweeps import resolve_sweeps, resolve_twins
from study.spec.word_list import resolve_source
from study.training.identity import sha256


def read_study(
    path: Path,
    profile: str = FULL_PROFILE,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
    anywhere: bool = False,
    trust: Trust = "below",
    told: Told | None = None,
) -> Spec:
    """The study in the file at `path` under `profile`, with the `seeds` if they are given, else with those of the file.

    Messages call the file `name`. Its word list must lie in the study file's folder or in the working folder, unless it
    may lie `anywhere`. `trust` and `told` are about its extensions, as for `open_study`. Raises SpecError for a study
    that cannot be run.
    """
    return resolve_study(open_study(path, name, trust, told), profile, seeds, anywhere)


def resolve_study(
    written: StudyFile, profile: str = FULL_PROFILE, seeds: Sequence[int] | None = None, anywhere: bool = False
) -> Spec:
    """The study in an opened file. See `read_study`."""
    data = resolve_source(written, anywhere)
    file = under_profile(written, profile)
    study = file.content
    batch_sizes = _batch_sizes(file)
    drafts = inherit(file, study.conditions)
    conditions = resolve_conditions(file, drafts)
    claims = check_claims(file, conditions)
    conditions = with_gradients(conditions, claims)
    sweeps, swept = resolve_sweeps(file, drafts, conditions)
    return Spec(
        title=study.title,
        name=file.document.name,
        path=file.path,
        profile=profile,
        data=data,
        seeds=tuple(study.seeds if seeds is None else seeds),
        measure=_steps_to_measure(file, (*conditions, *swept)),
        batch_sizes=batch_sizes,
        probe=None if study.probe is None else study.probe.record(),
        groups={g: t for g, t in group_titles(file).items() if any(c.group == g for c in conditions)},
        twins=resolve_twins(file, conditions),
        sweeps=sweeps,
        conditions=(*conditions, *swept),
        published=resolve_published(file, written, drafts, conditions),
        claims=claims,
        document_sha256=sha256(written.document.value),
        initial_states=_seeds_of_states(study, seeds),
        extensions=written.extensions,
    )


def _batch_sizes(file: StudyFile) -> tuple[int, ...]:
    """The batch sizes at which BatchNorm is read with the statistics of the batch, in ascending order."""
    sizes = file.content.evaluation.batch_sizes
    if 1 in sizes:
        problem = "one example has no standard deviation to be read with; expected sizes of 2 or more, got 1"
        raise file.error(("evaluation", "batch_sizes"), problem)
    return tuple(sorted(set(sizes)))


def _seeds_of_states(study: StudyEntry, seeds: Sequence[int] | None) -> tuple[int, ...]:
    """The seeds of the initial states: the first ones, or those of them among `seeds` where a command names some."""
    first = range(study.initial_states or 0)
    if seeds is None or list(seeds) == study.seeds:
        return tuple(first)
    return tuple(sorted(seed for seed in seeds if seed in first))


def _steps_to_measure(file: StudyFile, conditions: Sequence[Condition]) -> tuple[int, ...]:
    """The steps at which every model is measured, besides its first and its last, in ascending order."""
    longest = max(c.schedule.steps for c in conditions)
    for i, step in enumerate(file.content.measure):
        if not longest:
            problem = f"no condition of this profile is trained, so that there is no step {step}; leave this key out"
            raise file.error(("measure", i), problem)
        if not 0 < step <= longest:
            problem = f"expected a step from 1 to {longest}, the longest training of this profile, got {step}"
            raise file.error(("measure", i), problem)
    return tuple(sorted(set(file.content.measure)))
