"""Turn the key `published` into records: the numbers of others, and the conditions that repeat them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.spec.conditions import network_of, resolve_condition, schedule_of
from study.spec.inheritance import Draft, Place, draft, inherit
from study.spec.records import Condition, Published, Run
from study.spec.study_file import StudyFile


def resolve_published(
    file: StudyFile, written: StudyFile, drafts: Mapping[str, Draft], conditions: Sequence[Condition]
) -> Published | None:
    """The published numbers of a study, if it has any; `written` is the file without a profile.

    Raises SpecError for a run that does not name the condition which it changes, and for all that is refused in a
    condition.
    """
    entry = file.content.published
    if entry is None:
        return None
    parents = {c.name: c for c in conditions}
    runs = []
    for name, run in entry.runs.items():
        place = _place(name)
        if run.from_ is None:
            raise file.error(place, "missing key 'from'; a published run names the condition that it changes")
        condition = resolve_condition(file, name, run, draft(file, place, run, drafts), parents)
        if condition.untrained:
            raise file.error(place, "a published run is trained; expected 1 step or more, got steps: 0")
        comparable = _as_written(file, written, condition)
        runs.append(Run(condition, run.origin, run.train, run.dev, run.tolerance, comparable))
    return Published(entry.source, entry.seed, entry.protocol, tuple(runs))


def _place(name: str) -> Place:
    return ("published", "runs", name)


def _as_written(file: StudyFile, written: StudyFile, condition: Condition) -> bool:
    """Whether the training of a published run is the same under the profile and in the file as written."""
    if file.content == written.content:
        return True
    entry = written.content.published
    run = None if entry is None else entry.runs.get(condition.name)
    if run is None or run.from_ not in written.content.conditions:
        return False
    original = draft(written, _place(condition.name), run, inherit(written, [run.from_]))
    network = network_of(written, original)
    return network == condition.network and schedule_of(written, original, network) == condition.schedule
