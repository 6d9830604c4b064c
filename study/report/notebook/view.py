"""Turn one condition of a finished study into the tables and figures of its notebook. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study import provenance
from study.analysis import ledger
from study.analysis.results import Results
from study.analysis.values import own_trainings
from study.errors import SpecError, suggest
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Table, TableColumn, figure_style, table_html
from study.report.sections.common import interval
from study.spec.describe import schedule_words
from study.spec.read import read_study
from study.spec.records import Condition
from study.spec.subset import only_conditions


@dataclass(frozen=True)
class Shown:
    """HTML that a notebook displays."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True)
class View:
    """A condition and the results that it is part of."""

    results: Results
    condition: Condition

    def _table(self, caption: str, columns: list[TableColumn], rows: list[dict[str, object]]) -> Shown:
        ident = "t-" + "".join(c if c.isalnum() else "-" for c in caption.lower())[:30]
        return Shown(str(table_html(Table(caption, columns, rows), ident)))  # type: ignore[arg-type]

    def about(self) -> Shown:
        """A table of the condition and its changes."""
        c = self.condition
        rows: list[dict[str, object]] = [
            {"what": "title", "value": c.title},
            {"what": "from", "value": self.results.titles.get(c.parent, c.parent) if c.parent else "nothing"},
            {"what": "changes", "value": "; ".join(c.changes)},
            {"what": "training", "value": schedule_words(c.schedule)},
            {
                "what": "read with",
                "value": f"{c.statistics} statistics" if c.network.layers_with_statistics else "no BatchNorm",
            },
            {"what": "seeds", "value": ", ".join(map(str, self.results.spec.seeds))},
        ]
        return self._table(
            "The condition", [TableColumn("what", "what"), TableColumn("value", "value", numeric=False)], rows
        )

    def losses(self) -> Shown:
        """A table of the loss of every split at every measured step."""
        steps = self.condition.schedule.measured(self.results.spec.measure)
        columns = [
            TableColumn("step", "step", "", ",.0f"),
            *(TableColumn(split, split, "nats", ".4f") for split in ("train", "dev", "test")),
        ]
        rows: list[dict[str, object]] = [
            {
                "step": step,
                **{
                    s: interval(self.results.estimate(self.results.loss(self.condition, s, step)))
                    for s in ("train", "dev", "test")
                },
            }
            for step in steps
        ]
        return self._table("Loss, mean over seeds", columns, rows)

    def seeds(self) -> Shown:
        """A table of every seed: first and last loss, status and hash of the parameters."""
        t = own_trainings(self.results.tables["cells"])
        cells = t[t["condition"] == self.condition.name].set_index("seed")
        first, last = (self.results.loss(self.condition, "dev", step) for step in (0, self.condition.schedule.steps))
        columns = [
            TableColumn("seed", "seed", "", ".0f"),
            TableColumn("first", "dev loss at the start", "nats", ".4f"),
            TableColumn("last", "dev loss at the end", "nats", ".4f"),
            TableColumn("status", "status"),
            TableColumn("sha", "sha256 of the final parameters"),
        ]
        rows: list[dict[str, object]] = [
            {
                "seed": seed,
                "first": first.get(seed),
                "last": last.get(seed),
                "status": cells.loc[seed, "status"],
                "sha": None if pd.isna(sha := cells.loc[seed, "sha256"]) else sha[:16],
            }
            for seed in first.index
        ]
        return self._table("Every seed", columns, rows)

    def measurements(self) -> Shown:
        """A table of every registered measurement of the activations, at the start and at the end."""
        c, r = self.condition, self.results
        rows: list[dict[str, object]] = []
        for name in r.tables["measures"]["metric"]:
            label = r.label(name)
            if label.of not in ("layer", "output"):
                continue
            for layer in range(1, len(c.network.layers)) if label.of == "layer" else [None]:
                start, end = (r.metric(c, name, step, layer) for step in (0, c.schedule.steps))
                if not len(start):
                    continue
                rows.append(
                    {
                        "what": label.text,
                        "unit": label.unit,
                        "layer": layer,
                        "start": interval(r.estimate(start * label.factor)),
                        "end": interval(r.estimate(end * label.factor)),
                    }
                )
        columns = [
            TableColumn("what", "measurement"),
            TableColumn("unit", "unit"),
            TableColumn("layer", "layer", "", ".0f"),
            TableColumn("start", "at the start", "", ".3f"),
            TableColumn("end", "at the end", "", ".3f"),
        ]
        return self._table("Activations over the full training split, mean over seeds", columns, rows)

    def gradients(self) -> Shown:
        """A table of the gradient norm of every parameter, at the start and at the end."""
        c, r = self.condition, self.results
        t = r.tables["metrics"]
        names = dict.fromkeys(t[(t["condition"] == c.name) & (t["metric"] == "grad_norm")]["parameter"])
        rows: list[dict[str, object]] = [
            {
                "parameter": name,
                "start": interval(r.estimate(r.metric(c, "grad_norm", 0, parameter=name))),
                "end": interval(r.estimate(r.metric(c, "grad_norm", c.schedule.steps, parameter=name))),
            }
            for name in names
        ]
        columns = [
            TableColumn("parameter", "parameter"),
            TableColumn("start", "norm at the start", "", ".4g"),
            TableColumn("end", "norm at the end", "", ".4g"),
        ]
        return self._table("Gradients of one minibatch, mean over seeds", columns, rows)

    def curve(self) -> Shown:
        """A figure of the training curve of every seed."""
        c, r = self.condition, self.results
        t = r.tables["curves"]
        rows = t[(t["condition"] == c.name) & t["loss"].notna()]
        if not len(rows):
            return Shown("<p>No finite training loss.</p>")
        frame = pd.DataFrame(
            {
                "condition": c.name,
                "seed": rows["seed"].astype(int),
                "step": rows["step"].astype(float) + 1,
                "loss": rows["loss"].astype(float),
            }
        )

        def drawing(width: int) -> Drawn:
            fig, (ax,) = plots.new(1, 1, 280, width)
            plots.draw_lines(ax, {c.name: looks_of(r)[c.name]}, frame, logx=True, logy=True)
            plots.reference(ax, r.uniform, f"ln {r.vocabulary}")
            ax.set(xlabel="step (log axis)", ylabel="minibatch loss, nats (log axis)")
            return fig

        drawn = plots.draw("curve", f"Training curve of {c.title}, every seed.", drawing)
        style = f"<style>{figure_style()}\n.narrow {{ display: none; }}</style>"  # for a notebook opened by itself
        return Shown(
            f'{style}<figure><div class="wide">{drawn.wide}</div><div class="narrow">{drawn.narrow}</div></figure>'
        )


SHOWN_TABLES = ("cells", "losses", "curves", "metrics")  # tables of which a notebook reads its condition's rows


def own(results: Results, condition: Condition) -> dict[str, pd.DataFrame]:
    """The tables of a notebook, with the rows of its condition alone, and the labels of all metrics."""
    tables = {name: results.tables[name] for name in SHOWN_TABLES}
    here = {name: table[table["condition"] == condition.name].reset_index(drop=True) for name, table in tables.items()}
    return {**here, "measures": results.tables["measures"]}


def open_condition(condition: str, folder: str = "reports", file: str = "experiments.yaml") -> View:
    """The condition called `condition` in the report folder `folder` of the study in `file`.

    Raises SpecError where there is no such condition, and where the folder has no tables of this study.
    """
    where, study = Path(folder), Path(file)
    made = (where / "manifest.json", study)
    # the next notebook of this kernel reads the same tables, unless they were made again
    stamps = tuple(path.read_bytes() if path.is_file() else b"" for path in made)
    results = _load(where.resolve(), study, stamps)
    known = [c.name for c in results.spec.conditions]
    if condition not in known:
        raise SpecError(f"no condition '{condition}'{suggest(condition, known)}")
    chosen = results.spec.condition(condition)
    return View(replace(results, tables=own(results, chosen)), chosen)


@lru_cache(maxsize=1)
def _load(folder: Path, file: Path, stamps: tuple[bytes, ...]) -> Results:
    facts = provenance.read_manifest(folder)
    chosen = facts["chosen"]
    # it reads tables, no word list and no code of the user's
    told = facts.get("extensions")
    spec = read_study(file, facts["profile"], facts["seeds"], str(file), True, "never", lambda _: told)
    if chosen.get("only"):
        spec = only_conditions(spec, [name.strip() for name in chosen["only"].split(",")])
    return ledger.load_results(spec, folder)
