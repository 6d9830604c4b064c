"""Compare two report folders: study, environment, tables, and every measurement by pairs of seeds. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study import parquet, provenance
from study.analysis.estimate import Difference, paired
from study.analysis.measurements import Kind, labels, losses_read, metrics_read, part, probe_read, said
from study.analysis.values import own_trainings
from study.errors import SpecError
from study.measurement.labels import Label
from study.tables import TABLES, Tables

# the entries of a manifest that the study file does not determine
ENVIRONMENT = ("cpu", "device", "engines", "source_sha256", "versions")
# the entries of a manifest that are compared seed by seed, cell by cell and row by row
ELSEWHERE = ("draws", "parameters", "tables")
PLACE = ["kind", "condition", "measure", "detail", "at"]  # the columns that identify a measurement
SHOWN_CHARACTERS = 64  # the characters of a value that are shown: as many as a sha256 has
NOT_THERE = "–"


@dataclass(frozen=True)
class Change:
    """An entry that differs between the two reports, as text; – where it is missing."""

    place: str
    a: str
    b: str


@dataclass(frozen=True)
class TableChange:
    """A table whose rows differ. `differ` is the number of differing rows, where both have the same number of rows."""

    name: str
    rows_a: int
    rows_b: int
    differ: int | None


@dataclass(frozen=True)
class Measured:
    """A measurement of a condition whose values differ: B - A, over the seeds that both have and that not both lost."""

    kind: Kind
    condition: str
    what: str  # with its unit
    at: str
    a: float  # mean over those seeds; NaN when one of them has diverged in A or in B
    b: float
    difference: Difference
    diverged: tuple[int, int, int]  # the number of seeds, of those that both have, that diverged in A, in B, in both
    share: float  # |mean difference| as a share of the mean size of this measurement over all conditions


@dataclass(frozen=True)
class Unpaired:
    """The measurements of a condition that have no pair."""

    condition: str
    why: str
    count: int


@dataclass(frozen=True)
class Cells:
    """The cells of the two reports, compared by the sha256 of their final parameters. `differ`: condition -> seeds."""

    equal: int
    differ: dict[str, list[str]]
    without: int  # the cells that have no sha256 in A or in B, such as failed ones
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Diff:
    """All differences between the reports A and B. The largest difference of measurements is first."""

    a: str
    b: str
    study: list[Change]
    environment: list[Change]
    conditions: list[Change]
    tables: list[TableChange]
    measured: list[Measured]
    same: dict[Kind, int]  # the number of measurements that are equal for every seed that both have
    unpaired: list[Unpaired]
    cells: Cells

    @property
    def equal(self) -> bool:
        """Whether every table holds the same rows."""
        return not self.tables

    def of(self, kind: Kind) -> list[Measured]:
        """The measurements of one kind that differ."""
        return [m for m in self.measured if m.kind == kind]


def compare(a: Path, b: Path) -> Diff:
    """Compare two report folders. SpecError: one of them holds no report."""
    facts = [provenance.read_manifest(folder) for folder in (a, b)]
    found = [parquet.read(folder / "data") for folder in (a, b)]
    ours, theirs = found
    study, environment = _facts(*facts)
    measured, same, unpaired = _measured(a, b, ours, theirs)
    return Diff(
        a=str(a),
        b=str(b),
        study=study,
        environment=environment,
        conditions=_conditions(ours["conditions"], theirs["conditions"]),
        tables=list(_tables(ours, theirs)),
        measured=measured,
        same=same,
        unpaired=unpaired,
        cells=_cells(_keyed(ours["cells"], CELL, a), _keyed(theirs["cells"], CELL, b)),
    )


# -- configuration and environment --------------------------------------------------------------------------------


def _facts(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[list[Change], list[Change]]:
    """The entries that differ between two manifests: those of the study, and those of the environment."""
    study, environment = list[Change](), list[Change]()
    for key in sorted({*a, *b} - {*ELSEWHERE}):
        found = environment if key in ENVIRONMENT else study
        found += _changes(key, *(facts.get(key, NOT_THERE) for facts in (a, b)))
    ours, theirs = a.get("draws"), b.get("draws")
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for seed in (seed for seed in ours if seed in theirs):
            environment += _changes(f"draws.{seed}", ours[seed], theirs[seed])
    return study, environment


def _changes(place: str, a: Any, b: Any, depth: int = 3) -> list[Change]:
    """The differences between two values, key by key."""
    if a == b and type(a) is type(b):
        return []
    if depth and isinstance(a, dict) and isinstance(b, dict):
        return [
            change
            for key in sorted({*a, *b})
            for change in _changes(f"{place}.{key}", a.get(key, NOT_THERE), b.get(key, NOT_THERE), depth - 1)
        ]
    return [Change(place, *_shorten(*(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in (a, b))))]


def _shorten(a: str, b: str) -> tuple[str, str]:
    """Two texts, cut to the part in which they differ."""
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = 0 if max(len(a), len(b)) <= SHOWN_CHARACTERS else max(0, start - SHOWN_CHARACTERS // 4)
    cut = [
        ("…" if start else "")
        + text[start : start + SHOWN_CHARACTERS]
        + ("…" if text[start + SHOWN_CHARACTERS :] else "")
        for text in (a, b)
    ]
    return cut[0], cut[1]


def _conditions(a: pd.DataFrame, b: pd.DataFrame) -> list[Change]:
    """The conditions that only one report has, and the differences between the others."""
    ours, theirs = (
        {row["condition"]: row for row in t.fillna({c: "" for c in _texts(t)}).to_dict("records")} for t in (a, b)
    )
    found = []
    for name in {**ours, **theirs}:
        if name not in ours or name not in theirs:
            here = ours.get(name) or theirs[name]
            texts = (f"“{here['title']}”", NOT_THERE)
            found.append(Change(str(name), *(texts if name in ours else reversed(texts))))
            continue
        for column in TABLES["conditions"]:
            x, y = (str(row[name][column]).replace("\n", "; ") for row in (ours, theirs))
            if x != y:
                found.append(Change(f"{name}: {column}", *_shorten(x or NOT_THERE, y or NOT_THERE)))
    return found


def _texts(table: pd.DataFrame) -> list[str]:
    return [column for column in table.columns if isinstance(table[column].dtype, pd.StringDtype)]


# -- tables and cells ---------------------------------------------------------------------------------------------


def _tables(a: Tables, b: Tables) -> Iterator[TableChange]:
    for name in TABLES:
        ours, theirs = a[name], b[name]
        if ours.equals(theirs):
            continue
        differ = None
        if len(ours) == len(theirs):
            same = np.ones(len(ours), bool)
            for column in ours.columns:
                x, y = ours[column], theirs[column]
                same &= ((x == y).fillna(False) | (x.isna() & y.isna())).to_numpy(bool)
            differ = int((~same).sum())
        yield TableChange(name, len(ours), len(theirs), differ)


CELL = ["condition", "seed", "protocol", "twin", "steps"]


def _keyed(table: pd.DataFrame, keys: list[str], folder: Path) -> pd.DataFrame:
    """The table, each row of which has `keys` of its own. SpecError: two rows have the same keys."""
    table = table.astype(
        {column: object for column in _texts(table)}
    )  # Arrow's text cannot be merged with no rows of it
    twice = table.duplicated(keys)
    if twice.any():
        row = ", ".join(str(table.loc[twice, key].iloc[0]) for key in keys)
        raise SpecError(f"{folder / 'data'}: two rows for {row:.200}; remake it with `study run`")
    return table


def _cells(a: pd.DataFrame, b: pd.DataFrame) -> Cells:
    both = a.merge(b, on=CELL, how="outer", suffixes=("_a", "_b"), indicator=True)
    side = both["_merge"].value_counts()
    both = both[both["_merge"] == "both"]
    known = (both["sha256_a"].notna() & both["sha256_b"].notna()).to_numpy(bool)
    equal = (both["sha256_a"] == both["sha256_b"]).fillna(False).to_numpy(bool) & known
    differ: dict[str, list[str]] = {}
    for row in both[known & ~equal].itertuples():
        kind = "" if row.protocol == "paired" else f" ({row.protocol})"
        twin = f" (twin, {row.steps:,} steps)" if row.twin else ""
        differ.setdefault(str(row.condition), []).append(f"{row.seed}{kind}{twin}")
    return Cells(int(equal.sum()), differ, int((~known).sum()), int(side["left_only"]), int(side["right_only"]))


# -- measurements -------------------------------------------------------------------------------------------------


def _measured(
    folder_a: Path, folder_b: Path, a: Tables, b: Tables
) -> tuple[list[Measured], dict[Kind, int], list[Unpaired]]:
    """The measurements that differ, the number of those that are equal, and the measurements without a pair."""
    lengths = _lengths(a), _lengths(b)
    other = {name for name, steps in lengths[0].items() if lengths[1].get(name, steps) != steps}
    known = {**labels(b), **labels(a)}
    ours, theirs = (
        _keyed(measurements(t, other, known), [*PLACE, "seed"], folder) for t, folder in ((a, folder_a), (b, folder_b))
    )
    whole = pd.concat([ours, theirs])
    sizes = whole["value"].abs().where(np.isfinite(whole["value"])).groupby([whole["kind"], whole["measure"]]).mean()
    merged = ours.merge(theirs, on=[*PLACE, "seed"], how="outer", suffixes=("_a", "_b"), indicator=True)
    shared = merged[merged["_merge"] == "both"]
    x, y = shared["value_a"], shared["value_b"]
    same = ((x == y) | (x.isna() & y.isna())).groupby([shared[key] for key in PLACE]).all()
    measured = [
        _one(place, group, float(sizes[place[0], place[2]]), known)
        for place, group in shared.groupby(PLACE)
        if not same[place]
    ]
    measured.sort(key=lambda m: (-m.share, m.condition, m.what, m.at))
    alone = merged[~pd.MultiIndex.from_frame(merged[PLACE]).isin(same.index)]
    kinds = same[same].groupby(level="kind").size()
    counts: dict[Kind, int] = {kind: int(kinds.get(kind, 0)) for kind in ("loss", "metric", "other")}
    return measured, counts, list(_unpaired(alone))


def _one(place: tuple[str, ...], pairs: pd.DataFrame, size: float, known: Mapping[str, Label]) -> Measured:
    kind, condition, measure, detail, at = place
    a, b = pairs["value_a"].to_numpy(float), pairs["value_b"].to_numpy(float)
    gone_a, gone_b = ~np.isfinite(a), ~np.isfinite(b)
    left = ~(gone_a & gone_b)
    a, b = a[left], b[left]
    difference = paired(b, a)
    label = known[measure]
    what = ", ".join(filter(None, [label.text + (f" ({label.unit})" if label.unit else ""), detail]))
    return Measured(
        kind,  # type: ignore[arg-type]
        condition,
        what,
        at,
        math.nan if difference.diverged else float(a.mean()),
        math.nan if difference.diverged else float(b.mean()),
        difference,
        (int((gone_a & ~gone_b).sum()), int((gone_b & ~gone_a).sum()), int((~left).sum())),
        math.inf if difference.diverged else abs(difference.mean) / size,
    )


def _unpaired(alone: pd.DataFrame) -> Iterator[Unpaired]:
    """The measurements without a pair, counted by condition: one report lacks them, or has them for other seeds."""
    sides = alone.groupby(PLACE)["_merge"].agg(lambda side: "|".join(sorted(set(side))))
    why = {"left_only": "only in A", "right_only": "only in B", "left_only|right_only": "for no seed of both"}
    counted = sides.groupby([sides.index.get_level_values("condition"), sides]).size()
    for (condition, side), count in counted.items():
        yield Unpaired(condition, why[side], int(count))


def measurements(found: Tables, other: set[str], known: Mapping[str, Label]) -> pd.DataFrame:
    """All measurements of a report, with a row for each seed: PLACE, seed, value. They have the units of their labels.

    A measurement at a condition's last step is `at` its end. The conditions in `other` are not trained equally long in
    both reports, so that their measurements at the last step have a second row at that step. The value of a seed that
    has diverged by then is NaN.
    """
    rows = pd.concat([losses_read(found), metrics_read(found)], ignore_index=True)
    at_end = (rows["step"] == rows["condition"].map(_lengths(found))).to_numpy(bool)
    rows["at"] = np.where(at_end, "end", rows["step"].map(_step))
    again = rows[at_end & rows["condition"].isin(other).to_numpy(bool)]
    rows = pd.concat([rows, again.assign(at=again["step"].map(_step))], ignore_index=True)
    lost = _lost(found)
    gone = [lost.get(key, math.inf) for key in zip(rows["condition"], rows["seed"], strict=True)]
    rows["value"] = rows["value"].where(rows["step"].to_numpy(float) < np.array(gone, float))
    probe = probe_read(found).assign(at="start")
    rows = pd.concat([rows, _curves(found, lost), _twins(found), _published(found), probe], ignore_index=True)
    rows["value"] = rows["value"] * rows["measure"].map(lambda name: known[name].factor)
    return rows[[*PLACE, "seed", "value"]].astype({**dict.fromkeys(PLACE, str), "value": float})


def _lengths(found: Tables) -> dict[str, float]:
    """Condition -> the length of its training in steps."""
    t = found["conditions"]
    return dict(zip(t["condition"], t["steps"].to_numpy(float, na_value=math.nan), strict=True))


def _step(step: int) -> str:
    return "start" if step == 0 else f"step {step:,}"


def _lost(found: Tables) -> dict[tuple[str, int], float]:
    """(condition, seed) -> the first step with a loss that is not finite."""
    t = own_trainings(found["cells"])
    t = t[t["status"] != "done"]
    steps = t["step"].fillna(0).to_numpy(float)
    return dict(zip(zip(t["condition"], t["seed"], strict=True), steps, strict=True))


def _curves(found: Tables, lost: Mapping[tuple[str, int], float]) -> pd.DataFrame:
    """The mean of every training curve."""
    t = found["curves"].groupby(["condition", "seed"], sort=False, dropna=False)["loss"].mean().reset_index()
    gone = [key in lost for key in zip(t["condition"], t["seed"], strict=True)]
    t["loss"] = t["loss"].where(~np.array(gone, bool))
    lengths = _lengths(found)
    at = [f"steps 0 to {lengths.get(name, 0):,.0f}" for name in t["condition"]]
    return part("loss", t, "loss", "mean over the training's minibatches", "loss", at=at)


def _twins(found: Tables) -> pd.DataFrame:
    t = found["twins"]
    detail = said(t["steps"], "pair of {:,} steps").to_numpy(object)
    at = t["step"].map(_step, na_action="ignore").to_numpy(object)
    distance = part("other", t, "twin_distance", detail, "distance", at=at)
    gap = part("other", t, "twin_gap", detail, "loss_gap", at=at)
    return pd.concat(
        [distance, gap[gap["value"].notna()]], ignore_index=True
    )  # the dev loss is read at a few steps alone


def _published(found: Tables) -> pd.DataFrame:
    t = found["published"]
    return part("other", t, "loss", said(t["split"], "{}, published run").to_numpy(object), "reproduced", at="end")
