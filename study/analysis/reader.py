"""The folder of a report → a `Report`, from which a user's own program reads tables, values over seeds and the ledger.

The study file and the data are not needed: the tables, manifest.json and report.json hold everything. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from study import parquet, provenance
from study.analysis.export import RECORD_FORMAT, Judgement, ReportRecord
from study.analysis.values import Values, activations_read_at
from study.data.words import SPLITS
from study.errors import SpecError, suggest
from study.network.norms import Reading, reading_at


def open_report(folder: str | PathLike[str]) -> Report:
    """Open the finished report in a folder, such as `reports`.

    Its table `measures` has a row for every metric of the other tables: label, unit, format (as Python's format() takes
    it), the direction that is better (higher, lower or empty), and the subject (layer, output, parameter, training).

    SpecError, in one line, where the folder holds no report, or files that do not belong together.
    """
    place = Path(folder)
    if not any((place / name).exists() for name in ("manifest.json", "report.json", "data")):
        raise SpecError(f"{place}: holds no report; expected a folder that `study run` wrote")
    manifest = provenance.read_manifest(place)
    tables = parquet.read(place / "data")
    provenance.intact(manifest, place)
    record = _record(place / "report.json")
    if record.provenance.get("tables") != manifest["tables"]:
        raise SpecError(f"{place / 'report.json'}: made from other tables; render it again with `study report`")
    ledger = pd.DataFrame([claim.model_dump() for claim in record.claims], columns=list(Judgement.model_fields))
    return Report(place, record.title, tables, ledger, manifest)


@dataclass(frozen=True, eq=False)
class Report:
    """A finished report, made by `open_report`. Its attributes are public where no underscore begins their name."""

    folder: Path
    title: str
    tables: Mapping[str, pd.DataFrame] = field(repr=False)  # by name: losses, metrics, measures, curves, cells, …
    ledger: pd.DataFrame = field(repr=False)  # a row per claim and condition; columns as under `claims` in report.json
    manifest: Mapping[str, Any] = field(repr=False)  # manifest.json: profile, seeds, data, versions, hashes

    @property
    def conditions(self) -> list[str]:
        """The names of the conditions, in the order of the study file; those that a sweep makes stand at the end."""
        return [str(name) for name in self.tables["conditions"]["condition"]]

    def loss(
        self, condition: str, split: str = "dev", step: int | None = None, statistics: Reading | None = None
    ) -> pd.Series:
        """The loss on a full split (train, dev or test), in nats: a Series with the seed as its index.

        The default of `step` is the last one; the default of `statistics` (of BatchNorm) is what the condition is read
        with. A seed that has diverged or whose training failed has a NaN. SpecError for what was not measured.
        """
        read_with, at, rows = self._measured("losses", condition, step)
        if split not in SPLITS:
            raise SpecError(f"{self.folder}: no split '{split}'{suggest(split, SPLITS)}")
        kind = statistics or reading_at(read_with, at)
        self._check_statistics(kind, rows, f"the loss of '{condition}'")
        return self._values.loss(condition, split, at, kind).rename(f"loss.{split}").rename_axis("seed")

    def metric(
        self,
        condition: str,
        name: str,
        layer: int | None = None,
        parameter: str | None = None,
        step: int | None = None,
        statistics: Reading | None = None,
    ) -> pd.Series:
        """A metric by its name in the table `metrics`: a Series with the seed as its index; shares are from 0 to 1.

        A metric of a layer (`saturation_99`) needs `layer`, counted from 1; a metric of a parameter (`grad_norm`) needs
        `parameter`, such as W1; a metric of the output (`entropy`) or of a training needs neither. The table
        `measures` says of every metric which of these it is. The rest is as in `loss`.
        """
        read_with, at, measured = self._measured("metrics", condition, step)
        rows = measured[measured["metric"] == name]
        if rows.empty:
            hint = suggest(name, measured["metric"].unique())
            raise SpecError(f"{self.folder}: no metric '{name}' of '{condition}' at step {at}{hint}")
        here = rows[_equal(rows["layer"], layer) & _equal(rows["parameter"], parameter)]
        if here.empty:
            places = [
                *(f"layer={n}" for n in _distinct(rows["layer"])),
                *(f"parameter='{p}'" for p in _distinct(rows["parameter"])),
            ]
            wanted = f"expected {' or '.join(places)}" if places else "expected neither a layer nor a parameter"
            raise SpecError(f"{self.folder}: metric '{name}' of '{condition}': {wanted}")
        kind = statistics or activations_read_at(read_with, at)
        if here["statistics"].notna().any():
            self._check_statistics(kind, here, f"metric '{name}' of '{condition}'")
        return self._values.metric(condition, name, at, layer, parameter, kind).rename(name).rename_axis("seed")

    @cached_property
    def _values(self) -> Values:
        return Values(self.tables)

    def _measured(self, table: str, condition: str, step: int | None) -> tuple[Reading, int, pd.DataFrame]:
        """The statistics that a condition is read with, the step meant, and the rows of a table at that step."""
        known = self.tables["conditions"].set_index("condition")
        if condition not in known.index:
            raise SpecError(f"{self.folder}: no condition '{condition}'{suggest(condition, self.conditions)}")
        at = int(known.loc[condition, "steps"]) if step is None else step
        rows = self.tables[table][self.tables[table]["condition"] == condition]
        here = rows[rows["step"] == at]
        if here.empty:
            steps = suggest("", map(str, _distinct(rows["step"]))) or "; no training of it ended without an error"
            raise SpecError(f"{self.folder}: '{condition}' has no {table} at step {at}{steps}")
        return known.loc[condition, "statistics"], at, here

    def _check_statistics(self, kind: str, rows: pd.DataFrame, what: str) -> None:
        known = _distinct(rows["statistics"])
        if kind not in known:
            raise SpecError(f"{self.folder}: {what} was not read with '{kind}' statistics{suggest(kind, known)}")


def _equal(column: pd.Series, wanted: object) -> pd.Series:
    """The rows in which a column holds the value. None stands for an empty cell."""
    return column.isna() if wanted is None else (column == wanted).fillna(False)


def _distinct(column: pd.Series) -> list[Any]:
    return sorted(column.dropna().unique())


def _record(path: Path) -> ReportRecord:
    """report.json, checked; SpecError where it is missing or of another version."""
    try:
        return ReportRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise SpecError(f"{path}: not there; make it with `study report`") from None
    except (OSError, ValidationError) as error:
        reason = "" if isinstance(error, ValidationError) else f" ({error!s:.80})"
        raise SpecError(
            f"{path}: not a report of format {RECORD_FORMAT}{reason}; render it again with `study report`"
        ) from None
