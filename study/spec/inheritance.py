"""Turn conditions as the study file has them (only their changes) into drafts, which hold the inherited keys, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from study.errors import suggest
from study.network.inits import Init, Scheme
from study.network.norms import NormChoice, Reading
from study.spec.schema import ConditionEntry, Entry, LayerEntry, ModelEntry, TrainingEntry, shown_value
from study.spec.study_file import StudyFile

Place = tuple[str, ...]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Draft:
    """A condition, or a published run, with its own and its inherited keys. It may still be incomplete."""

    place: Place  # of its entry in the study file
    group: str
    model: Fields
    training: Fields  # without the fields of its group and of the study
    statistics: Reading | None
    embedding: Init | Scheme | None
    hidden: Fields | list[Fields]  # one mapping for all hidden layers, or a list with one for each
    output: Fields


def group_titles(file: StudyFile) -> dict[str, str]:
    """The name -> the title of every group, in order. A file without groups has one group for all conditions."""
    return {name: group.title or name for name, group in file.content.groups.items()} or {"conditions": "Conditions"}


def inherit(file: StudyFile, names: Iterable[str]) -> dict[str, Draft]:
    """The name -> the draft of these conditions and of all their ancestors, every one after its parent.

    Raises SpecError for a parent or a group that is not there, for a cycle of parents, and where the number of hidden
    layers is not that of the list that a condition inherits.
    """
    drafts: dict[str, Draft] = {}
    for name in names:
        for missing in [] if name in drafts else _lineage(file, name, drafts):
            drafts[missing] = draft(file, ("conditions", missing), file.content.conditions[missing], drafts)
    return drafts


def _lineage(file: StudyFile, name: str, known: Mapping[str, Draft]) -> list[str]:
    """The ancestors of a condition that are not known yet, the oldest first, and then the condition."""
    conditions, below, ancestors = file.content.conditions, name, dict[str, None]()
    while (parent := conditions[below].from_) is not None and parent not in known:
        _check_parent(file, ("conditions", below), parent)
        if parent in ancestors:
            names = list(ancestors)
            cycle = " from ".join((*names[names.index(parent) :], parent))
            raise file.error(("conditions", below, "from"), f"the parents form a cycle: {cycle:.200}")
        ancestors[parent] = None
        below = parent
    return [*reversed(ancestors), name]


def _check_parent(file: StudyFile, place: Place, parent: str) -> None:
    """Raise SpecError unless the parent of the condition at `place` is one of the file's conditions."""
    conditions = file.content.conditions
    if parent not in conditions:
        raise file.error((*place, "from"), f"no condition {shown_value(parent)}{suggest(parent, conditions)}")


def draft(file: StudyFile, place: Place, entry: ConditionEntry, drafts: Mapping[str, Draft]) -> Draft:
    """The draft of the condition or published run at `place`, laid over that of its parent, which is among `drafts`."""
    if entry.from_ is not None:
        _check_parent(file, place, entry.from_)
    parent = _orphan(file) if entry.from_ is None else drafts[entry.from_]
    groups = group_titles(file)
    if entry.group is not None and entry.group not in groups:
        raise file.error((*place, "group"), f"no group {shown_value(entry.group)}{suggest(entry.group, groups)}")
    model, group = {**parent.model, **numbers(entry.model)}, entry.group or parent.group
    # in another group than its parent, a condition takes the training of that group before that of its parent
    nearer = shared_training(file, place, group) if place[0] == "published" or group != parent.group else {}
    training = {key: number for key, number in parent.training.items() if key not in nearer}
    return Draft(
        place=place,
        group=group,
        model=model,
        training={**training, **numbers(entry.training)},
        statistics=parent.statistics if entry.statistics is None else entry.statistics,
        embedding=parent.embedding if entry.embedding is None else entry.embedding,
        hidden=_hidden(file, place, entry, parent, len(model["hidden"] or [])),
        output={**parent.output, **_given(entry.output)},
    )


def _orphan(file: StudyFile) -> Draft:
    """The start of a condition without a parent: the sizes of the study, and its first group."""
    return Draft((), next(iter(group_titles(file))), file.content.model.model_dump(), {}, None, None, {}, {})


def shared_training(file: StudyFile, place: Place, group: str) -> Fields:
    """The training that the file gives for all published runs (for one of them), or for all conditions of a group."""
    between = file.content.published if place[0] == "published" else file.content.groups.get(group)
    return numbers(between.training if between else None)


# -- layers -----------------------------------------------------------------------------------------------------------


def complete_layer(fields: Fields, activation: str = "tanh") -> Fields:
    """The fields of a layer, with the default for each one that is not given."""
    return {"bias": None, "norm": NormChoice("none"), "activation": activation, **fields}


def _hidden(file: StudyFile, place: Place, entry: ConditionEntry, parent: Draft, depth: int) -> Fields | list[Fields]:
    """The fields of the hidden layers: those of the parent, overridden by those of the condition.

    A mapping is for all layers, a list has a mapping for each.
    """
    base = _inherited(file, place, entry, parent, depth)
    if entry.hidden is None:
        return base
    if isinstance(entry.hidden, LayerEntry):
        patch = _given(entry.hidden)
        return [{**fields, **patch} for fields in base] if isinstance(base, list) else {**base, **patch}
    patches = [_given(layer) for layer in entry.hidden]
    if isinstance(base, list) and len(base) != len(patches):
        return patches  # a list of another length than the model has layers is refused when the network is made
    bases = base if isinstance(base, list) else [base] * len(patches)
    return [{**fields, **patch} for fields, patch in zip(bases, patches, strict=True)]


def _inherited(
    file: StudyFile, place: Place, entry: ConditionEntry, parent: Draft, depth: int
) -> Fields | list[Fields]:
    """The fields of the parent's hidden layers, for a condition with `depth` hidden layers."""
    layers = parent.hidden
    if not isinstance(layers, list) or len(layers) == depth:
        return layers
    if layers and all(complete_layer(fields) == complete_layer(layers[0]) for fields in layers):
        return layers[0]  # all layers are alike, so that any number of layers can inherit them
    if isinstance(entry.hidden, list):
        return {}  # it is open which layer inherits from which, so that the condition gives all fields itself
    if depth:
        problem = f"{shown_value(entry.from_)} lists {len(layers)} layers where this condition has {depth}"
        raise file.error((*place, "hidden"), f"{problem}; list all {depth}")
    return layers


# -- numbers as written ----------------------------------------------------------------------------------------------


def numbers(entry: ModelEntry | TrainingEntry | None) -> Fields:
    """The numbers that the user gave. A number whose value is null stays as it was."""
    return {key: number for key, number in _given(entry).items() if number is not None}


def _given(entry: Entry | None) -> Fields:
    return {} if entry is None else {key: getattr(entry, key) for key in entry.model_fields_set}
