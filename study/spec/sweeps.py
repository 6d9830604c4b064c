"""Turn the keys `sweeps` and `twins` into records, and sweeps into conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from study.errors import suggest
from study.spec.conditions import schedule_of
from study.spec.describe import training_words
from study.spec.inheritance import Draft, Place, numbers
from study.spec.records import Condition, Sweep, Twins
from study.spec.schema import SweepEntry, shown_value
from study.spec.study_file import StudyFile


def resolve_sweeps(
    file: StudyFile, drafts: Mapping[str, Draft], conditions: Sequence[Condition]
) -> tuple[tuple[Sweep, ...], tuple[Condition, ...]]:
    """All sweeps, and the conditions that they yield: one for each swept condition and each rate.

    Raises SpecError for a condition that is not there, for rates in the wrong place, and for a name that is taken.
    """
    sweeps, yielded, taken = list[Sweep](), list[Condition](), {c.name for c in conditions}
    for name, entry in file.content.sweeps.items():
        if entry is None:
            continue
        place = ("sweeps", name)
        if entry.training is not None and entry.training.lr is not None:
            problem = f"the rates of a sweep are those of sweeps.{name}.lr; leave this out"
            raise file.error((*place, "training", "lr"), problem)
        swept, rates = _named(file, place, entry.of, conditions), tuple(dict.fromkeys(entry.lr))
        names = dict[tuple[str, float], str]()
        for condition in swept:
            for rate in rates:
                found = _at_rate(file, name, entry, drafts[condition.name], condition, rate)
                if found.name in taken:
                    raise file.error(place, f"yields the condition '{found.name}', which exists already")
                taken.add(found.name)
                names[condition.name, rate] = found.name
                yielded.append(found)
        sweeps.append(Sweep(name, entry.title or name, tuple(c.name for c in swept), rates, names))
    return tuple(sweeps), tuple(yielded)


def _at_rate(
    file: StudyFile, sweep: str, entry: SweepEntry, draft: Draft, condition: Condition, rate: float
) -> Condition:
    """A condition with the training of a sweep, at one learning rate of the sweep."""
    training = {**draft.training, **numbers(entry.training), "lr": {0: rate}}
    schedule = schedule_of(file, replace(draft, place=("sweeps", sweep), training=training), condition.network)
    if not schedule.steps:
        problem = (
            f"'{condition.name}' has no training (steps: 0) whose learning rate could be swept; leave it out of `of`"
        )
        raise file.error(("sweeps", sweep), problem)
    return replace(
        condition,
        name=f"{condition.name} at lr {rate:.12g}",
        title=f"{condition.title}, lr {rate:.12g}",
        parent=condition.name,
        schedule=schedule,
        changes=(training_words(schedule),),
        seeds=entry.seeds,
        sweep=sweep,
    )


def resolve_twins(file: StudyFile, conditions: Sequence[Condition]) -> Twins | None:
    """The twins of a study, or None. Raises SpecError for a condition that is not there."""
    entry = file.content.twins
    if entry is None:
        return None
    chosen = _named(file, ("twins",), entry.of, conditions)
    for condition in chosen:
        if condition.untrained:
            problem = f"'{condition.name}' has no training (steps: 0) that could be repeated; leave it out"
            raise file.error(("twins", "of"), problem)
    return Twins(
        conditions=tuple(c.name for c in chosen),
        seeds=entry.seeds,
        short_seeds=entry.seeds if entry.short is None else max(entry.seeds, entry.short.seeds),
        short_steps=1 if entry.short is None else entry.short.steps,
    )


def _named(file: StudyFile, place: Place, names: Sequence[str], known: Sequence[Condition]) -> list[Condition]:
    """The conditions that the key `of` at `place` names, each one once."""
    by_name = {c.name: c for c in known}
    for i, name in enumerate(names):
        if name not in by_name:
            raise file.error((*place, "of", i), f"no condition {shown_value(name)}{suggest(name, by_name)}")
    return [by_name[name] for name in dict.fromkeys(names)]
