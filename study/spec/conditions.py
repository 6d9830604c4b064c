"""Turn drafts of conditions into conditions: complete networks and schedules, with the changes of each in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.errors import unknown
from study.network.expectations import gain
from study.network.inits import INITIALISERS, Scheme
from study.network.layers import Layer, Network
from study.network.model import MODELS, ModelKind
from study.network.norms import Reading
from study.spec.describe import condition_words
from study.spec.inheritance import Draft, Fields, Place, complete_layer, numbers, shared_training
from study.spec.records import Condition
from study.spec.schema import ConditionEntry, shown_value
from study.spec.study_file import StudyFile
from study.training.cells import Schedule

MAX_WEIGHTS = 10**8  # of one model; its gradients and a second copy take the same memory again, each


def resolve_conditions(file: StudyFile, drafts: Mapping[str, Draft]) -> tuple[Condition, ...]:
    """The conditions of a study file, in its order. Among the drafts, every one stands after its parent.

    Raises SpecError for a network or a schedule that is incomplete or that cannot be trained, and for statistics that a
    network cannot be read with.
    """
    entries, found = file.content.conditions, dict[str, Condition]()
    for name, draft in drafts.items():
        found[name] = resolve_condition(file, name, entries[name], draft, found)
    return tuple(found[name] for name in entries)


def resolve_condition(
    file: StudyFile, name: str, entry: ConditionEntry, draft: Draft, parents: Mapping[str, Condition]
) -> Condition:
    """The condition, or the published run, of a draft. Its parent, if it has one, is among `parents`."""
    network = network_of(file, draft)
    _check_kind(file, entry, draft, network)
    schedule = schedule_of(file, draft, network)
    _check_statistics(file, entry, draft, network)
    statistics = _statistics(draft, network)
    parent = None if entry.from_ is None else parents[entry.from_]
    usual = _schedule(numbers(file.content.training)) if parent is None else parent.schedule
    return Condition(
        name=name,
        title=entry.title or name,
        parent=entry.from_,
        group=draft.group,
        network=network,
        statistics=statistics,
        schedule=schedule,
        changes=condition_words(network, statistics, schedule, parent, usual),
    )


# -- networks ---------------------------------------------------------------------------------------------------------


def network_of(file: StudyFile, draft: Draft) -> Network:
    """The network of a draft. Raises SpecError where it is incomplete or too large."""
    kind = MODELS[draft.model["kind"] or "mlp"]
    sizes = ("context", "embedding", "hidden") if kind.layered else () if kind.context else ("context",)
    for key in sizes:
        if draft.model[key] is None:
            raise file.error(("model",), f"missing key '{key}'")
    if not kind.layered:
        context = kind.context or draft.model["context"]
        return Network(context, 0, (), None, (), _lone_output(file, draft, kind), kind=kind.name)
    if draft.embedding is None:
        problem = "missing key 'embedding'; a condition without a parent says how C is drawn"
        raise file.error(draft.place, problem)
    if isinstance(draft.embedding, Scheme) or "embedding" not in draft.embedding.entry.places:
        got = draft.embedding.name if isinstance(draft.embedding, Scheme) else f"a {draft.embedding.entry.key}"
        problem = f"the embedding has no fan_in; expected {{std: …}}, got {got}"
        raise file.error((*draft.place, "embedding"), problem)
    network = Network(
        context=draft.model["context"],
        embedding_size=draft.model["embedding"],
        widths=tuple(draft.model["hidden"]),
        embedding=draft.embedding,
        hidden=_hidden_layers(file, draft),
        output=_layer(file, (*draft.place, "output"), draft.output, output=True),
        kind=kind.name,
    )
    weights = sum(fan_in * fan_out for fan_in, fan_out in network.shapes(1)[:-1])
    if weights > MAX_WEIGHTS:
        problem = f"expected at most {MAX_WEIGHTS:,} weights, got {weights:,} before the output layer"
        raise file.error(_nearest(file, draft, "model"), problem)
    return network


def _lone_output(file: StudyFile, draft: Draft, kind: ModelKind) -> Layer:
    """The output layer of a model without hidden layers: a table, whose rows are looked up as those of an embedding."""
    place = (*draft.place, "output")
    layer = _layer(file, place, draft.output, output=True)
    for key, bare in (("bias", layer.bias is None), ("norm", layer.norm == "none")):
        if not bare:
            raise file.error((*place, key), f"{kind.label} has no {key}; write {key}: none")
    if layer.activation != "linear":
        raise file.error((*place, "activation"), f"{kind.label} has no activation; write activation: linear")
    if isinstance(draft.output["weight"], Scheme) or "embedding" not in layer.weight.entry.places:
        problem = f"the rows of {kind.label} are looked up, so that there is no fan_in; expected {{std: …}}"
        raise file.error((*place, "weight"), f"{problem}, got {layer.weight.words}")
    return layer


def _check_kind(file: StudyFile, entry: ConditionEntry, draft: Draft, network: Network) -> None:
    """Raise SpecError where a condition gives a key that its kind of model does not have."""
    if network.model.layered:
        return
    given: dict[Place, Any] = {("embedding",): entry.embedding, ("hidden",): entry.hidden}
    if entry.model is not None:
        given |= {("model", key): getattr(entry.model, key) for key in ("embedding", "hidden")}
        given |= {("model", "context"): entry.model.context if network.model.context else None}
    for place, value in given.items():
        if value is not None:
            problem = f"{network.model.label} has no choice of '{place[-1]}'; leave this key out"
            raise file.error((*draft.place, *place), problem)


def _hidden_layers(file: StudyFile, draft: Draft) -> tuple[Layer, ...]:
    place, widths = (*draft.place, "hidden"), draft.model["hidden"]
    layers = draft.hidden if isinstance(draft.hidden, list) else [draft.hidden] * len(widths)
    if len(layers) != len(widths):
        problem = f"{len(layers)} layers listed for the {len(widths)} of model.hidden {shown_value(list(widths))}"
        raise file.error(place, problem)
    return tuple(_layer(file, place, fields) for fields in layers)


def _layer(file: StudyFile, place: Place, fields: Fields, output: bool = False) -> Layer:
    if fields.get("weight") is None:
        raise file.error(place, "missing key 'weight'; expected {std: …} or {gain: …}")
    whole = complete_layer(fields, "linear" if output else "tanh")
    own_gain = 1.0 if output else gain(whole["activation"])
    drawn = {}
    for key in ("weight", "bias"):
        chosen = whole[key]
        drawn[key] = chosen.of(own_gain) if isinstance(chosen, Scheme) else chosen
        fitting = {key, f"output {key}"} if output else {key}
        if drawn[key] is not None and not fitting & set(drawn[key].entry.places):
            where = "an output's" if output else "a hidden layer's"
            problem = f"the initialiser '{drawn[key].entry.key}' cannot draw {where} {key}"
            known = [name for name, entry in INITIALISERS.items() if fitting & set(entry.places)]
            raise file.error((*place, key), f"{problem}; known: {', '.join(known)}")
    norm = whole["norm"]
    return Layer(drawn["weight"], drawn["bias"], norm.name, whole["activation"], norm.options, norm.inits)


# -- statistics -------------------------------------------------------------------------------------------------------


def _statistics(draft: Draft, network: Network) -> Reading:
    """The statistics that a condition is read with: the running ones, unless it or an ancestor names others."""
    if not network.layers_with_statistics:
        return "none"
    match draft.statistics:
        case None | "none":
            return "running"
        case "running" | "calibrated" | "batch":
            return draft.statistics
        case _:
            unknown(draft.statistics)


def _check_statistics(file: StudyFile, entry: ConditionEntry, draft: Draft, network: Network) -> None:
    """Raise SpecError where a condition without BatchNorm names statistics, or one with BatchNorm names `none`."""
    place, asked = (*draft.place, "statistics"), entry.statistics
    if network.layers_with_statistics and asked == "none":
        raise file.error(place, "BatchNorm is read with running, calibrated or batch statistics, got none")
    if not network.layers_with_statistics and asked not in (None, "none"):
        raise file.error(place, f"no layer has norm: batch, so there are no {asked} statistics; leave this key out")


# -- schedules --------------------------------------------------------------------------------------------------------


def schedule_of(file: StudyFile, draft: Draft, network: Network) -> Schedule:
    """The schedule of a draft.

    Its own and inherited keys override those of its group, and these override those of the study.

    Raises SpecError where it is incomplete, where a learning rate starts after the last step, and where a batch is too
    small for BatchNorm.
    """
    shared = shared_training(file, draft.place, draft.group)
    fields = {**numbers(file.content.training), **shared, **draft.training}
    untrained = fields.get("steps") == 0
    for key in ("batch_size", "steps", "lr"):
        if key not in fields and not (untrained and key == "lr"):
            raise file.error(("training",), f"missing key '{key}'")
    if untrained:  # of the rates only the first is left, since update_ratio takes it
        fields["lr"] = {start: rate for start, rate in fields.get("lr", {}).items() if start == 0}
    lr, steps, batch_size = fields["lr"], fields["steps"], fields["batch_size"]
    where = _nearest(file, draft, "training")
    if batch_size < network.least_batch:
        least = next(
            layer for layer in network.layers if layer.norm_entry and layer.norm_entry.least_batch > batch_size
        )
        assert least.norm_entry is not None
        why = ", as one example has no standard deviation" if least.needs_statistics else ""
        problem = f"{least.norm_entry.label} needs {least.norm_entry.least_batch} or more{why}; got {batch_size}"
        raise file.error((*where, "batch_size"), problem)
    if 0 not in lr and not untrained:
        raise file.error((*where, "lr"), f"no rate for step 0; the first entry starts at {min(lr)}")
    if max(lr, default=0) >= steps and not untrained:
        late = min(start for start in lr if start >= steps)
        problem = f"changes at step {late}, but training ends after {steps}; a shorter training names its own lr"
        raise file.error((*where, "lr"), problem)
    schedule = _schedule(fields)
    assert schedule is not None, f"a schedule has all its keys, got {sorted(fields)}"
    return schedule


def _schedule(fields: Mapping[str, Any]) -> Schedule | None:
    """The schedule with these fields, or None where a field is missing."""
    if not {"batch_size", "steps", "lr"} <= set(fields):
        return None
    return Schedule(fields["batch_size"], fields["steps"], tuple(sorted(fields["lr"].items())))


def _nearest(file: StudyFile, draft: Draft, key: str) -> Place:
    """The place nearest to a condition that has the key `training` or `model`.

    The places are, in this order, the condition, its group (or the key `published`), and the study.
    """
    between = ("published", key) if draft.place[0] == "published" else ("groups", draft.group, key)
    places = ((*draft.place, key), between)
    return next((place for place in places if place in file.document.lines), (key,))
