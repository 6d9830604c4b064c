"""What happens to the signal on its way: saturation, distributions, the gradient, the growth of x @ w."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study import plots, theory
from study.page import Column, Figure, Section, Table, Value
from study.results import Results
from study.sections.common import Panel, by_condition, distinct, interval, made, name_cell, scaled, span, strips
from study.sections.registry import section
from study.setup import PROBES
from study.spec import Condition


def _tanh(results: Results) -> list[Condition]:
    return [c for c in results.conditions if any(layer.activation == "tanh" for layer in c.setup.hidden)]


def _levels(condition: Condition, activation: str | None = None) -> list[int]:
    return [i for i, layer in enumerate(condition.setup.hidden, start=1) if activation in (None, layer.activation)]


def _saturated(results: Results, level: int, condition: Condition) -> pd.Series:
    return scaled(results.metric(condition, "saturation_99", 0, level))


@section("saturation", "Saturation", "a condition with tanh units")
def saturation(results: Results) -> Section | None:
    """How many units sit where tanh passes no gradient."""
    conditions = _tanh(results)
    if not conditions:
        return None
    deepest = max(len(c.setup.hidden) for c in conditions)
    panels = []
    for level in list(range(1, deepest + 1))[:4]:
        having = [c for c in conditions if level in _levels(c, "tanh")]
        values = by_condition(results, having, partial(_saturated, results, level))
        panels.append(Panel("|h| > 0.99 at the start, %" + (f", level {level}" if deepest > 1 else ""), values))
    columns = [
        Column("condition", "condition"),
        *([Column("layer", "level")] if deepest > 1 else []),
        Column("s97", "|h| > 0.97 at the start", "%", ".1f"),
        Column("s99", "|h| > 0.99 at the start", "%", ".1f"),
        Column("e99", "|h| > 0.99 at the end", "%", ".1f"),
        Column("dead", "dead units at the start", "%", ".1f"),
        Column("pass", "mean 1 − h² at the start", "", ".3f"),
        Column("passend", "mean 1 − h² at the end", "", ".3f"),
        Column("std", "std of the pre-activation", "", ".2f"),
    ]
    rows: list[dict[str, Value]] = []
    for c in conditions:
        for level in _levels(c, "tanh"):
            end = c.training.steps

            def est(name: str, step: int, factor: float = 1.0, c: Condition = c, level: int = level) -> Value:
                return interval(results.estimate(scaled(results.metric(c, name, step, level), factor)))

            row: dict[str, Value] = {
                "condition": name_cell(results, c), "s97": est("saturation_97", 0, 100), "s99": est("saturation_99", 0, 100),
                "e99": est("saturation_99", end, 100), "dead": est("dead", 0, 100), "pass": est("gradient_pass", 0),
                "passend": est("gradient_pass", end), "std": est("preact_std", 0),
            }  # fmt: skip
            rows.append({**row, **({"layer": level} if deepest > 1 else {})})
    table = Table(
        "Saturation over the full training split; a unit is dead when |h| > 0.99 on every example", columns, rows
    )
    first = {
        c.name: results.estimate(scaled(results.metric(c, "saturation_99", 0, _levels(c, "tanh")[0])))
        for c in conditions
    }
    known = {name: e for name, e in first.items() if e is not None and not math.isnan(e.mean)}
    worst, best = max(known, key=lambda n: known[n].mean), min(known, key=lambda n: known[n].mean)
    figures = [
        Figure(
            strips(
                results,
                "saturation-strip",
                "Share of tanh outputs beyond 0.99 in absolute value at the start, every condition and seed.",
                panels,
            ),
            "Share of tanh outputs with |h| > 0.99 before the first step.",
            table,
        )
    ]
    picture = _pictures(results, conditions)
    if picture is not None:
        figures.append(picture)
    return Section(
        anchor="saturation",
        short="Saturation",
        question="How many tanh units sit where no gradient passes?",
        answer=[
            f"Before the first step {known[worst].mean:.1f} % of the outputs of **{results.titles[worst]}** have |h| > 0.99, where the local "
            f"gradient 1 − h² is below 0.02; of **{results.titles[best]}** it is {known[best].mean:.1f} %. The threshold matters: at 0.97 the "
            "shares are larger, and the table has both."
        ],
        figures=figures,
        tables=(table,),
        made=made(results, "Every unit on every example of the full training split, streamed.", "study/metrics.py", "metrics, pictures"),
    )  # fmt: skip


def _pictures(results: Results, conditions: Sequence[Condition]) -> Figure | None:
    """The lecture's picture: examples × units, a mark where |h| > 0.99."""
    t = results.tables["pictures"]
    shown = [c for c in results.main if c in conditions and ((t["condition"] == c.name) & (t["step"] == 0)).any()]
    chosen = distinct(shown)[:6]  # conditions that share a training share a picture
    if not chosen:
        return None
    bits = {}
    for c in chosen:
        rows = t[(t["condition"] == c.name) & (t["step"] == 0)]
        rows = rows[rows["layer"] == rows["layer"].min()].sort_values("example")
        bits[c.name] = np.array([[digit == "1" for digit in units] for units in rows["units"]])

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(chosen), 2, 120, width)
        for ax, c in zip(axes, chosen, strict=True):
            plots.mask(ax, bits[c.name], results.looks[c.name].color)
            ax.set_title(plots.shorten(c.title, 34))
        return fig

    columns = [
        Column("condition", "condition"),
        Column("share", "marked", "%", ".1f"),
        Column("dead", "units marked in every row"),
    ]
    rows_: list[dict[str, Value]] = [
        {
            "condition": name_cell(results, results.spec.condition(n)),
            "share": 100 * float(b.mean()),
            "dead": int(b.all(0).sum()),
        }
        for n, b in bits.items()
    ]
    n = next(iter(bits.values())).shape
    return Figure(
        plots.draw(
            "saturation-map",
            f"{n[0]} examples by {n[1]} units, a mark where the tanh output is beyond 0.99, for each condition.",
            drawing,
        ),
        f"The first minibatch of the first seed: {n[0]} examples (rows) × {n[1]} units (columns), a mark where |h| > 0.99. "
        "A column marked from top to bottom is a unit that does not learn from this minibatch.",
        Table("Marks in the pictures", columns, rows_),
    )


@section("distributions", "Distributions", "histograms of the activations")
def distributions(results: Results) -> Section | None:
    """Where the outputs lie, before and after training."""
    t = results.tables["histograms"]
    chosen = distinct(results.main)
    if not len(t) or not chosen:
        return None
    figures = [
        f for f in (_histograms(results, chosen, quantity) for quantity in ("h", "preact", "logits")) if f is not None
    ]
    first = chosen[0]
    tails = {c.name: _outer(t, c, 0) for c in chosen}
    worst = max(tails, key=lambda name: tails[name])
    return Section(
        anchor="distributions",
        short="Distributions",
        question="Where do the activations lie, at the start and at the end?",
        answer=[
            f"At the start {100 * tails[worst]:.0f} % of the first level's outputs of **{results.titles[worst]}** lie in the outermost twentieth of "
            f"the range on either side; of **{results.titles[min(tails, key=lambda n: tails[n])]}** it is {100 * min(tails.values()):.0f} %. "
            "The histograms pool all seeds."
        ] if first.setup.hidden[0].activation == "tanh" else ["The histograms pool all seeds over the full training split."],
        figures=figures,
        made=made(results, "Fixed bins, streamed over the full training split and pooled over seeds; what lies outside the bins is in the table. "
                  "With BatchNorm the pre-activation is shown as the activation sees it, under calibrated statistics.",
                  "study/metrics.py", "histograms"),
    )  # fmt: skip


def _rows(t: pd.DataFrame, condition: Condition, step: int, quantity: str) -> pd.DataFrame:
    layer = len(condition.setup.layers) if quantity == "logits" else 1
    return t[
        (t["condition"] == condition.name) & (t["step"] == step) & (t["quantity"] == quantity) & (t["layer"] == layer)
    ]


def _outer(t: pd.DataFrame, condition: Condition, step: int) -> float:
    rows = _rows(t, condition, step, "h")
    return float(rows.loc[(rows["left"] >= 0.9) | (rows["right"] <= -0.9), "share"].sum())


def _histograms(results: Results, chosen: Sequence[Condition], quantity: str) -> Figure | None:
    t = results.tables["histograms"]
    label = {"h": "h", "preact": "what the activation sees", "logits": "logit"}[quantity]
    chosen = [c for c in chosen if len(_rows(t, c, 0, quantity)) and _rows(t, c, 0, quantity)["share"].notna().all()][
        :8
    ]
    if not chosen:
        return None

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(chosen), 3, 150, width)
        for ax, c in zip(axes, chosen, strict=True):
            look = results.looks[c.name]
            inner = _visible(_rows(t, c, 0, quantity))
            plots.histogram(ax, inner, look)
            end = _rows(t, c, c.training.steps, quantity)
            end = end[end["left"].isin(inner["left"]) & end["density"].notna()]
            if len(end):
                edges = np.append(end["left"].to_numpy(float), float(end["right"].iloc[-1]))
                ax.stairs(end["density"].to_numpy(float), edges, color=plots.INK, linewidth=1, baseline=None)
            ax.set_title(plots.shorten(c.title, 24))
            ax.set_xlabel(label)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        return fig

    columns = [
        Column("condition", "condition"), Column("when", "when"), Column("left", "from", "", ".4g"), Column("right", "to", "", ".4g"),
        Column("share", "share", "%", ".3f"),
    ]  # fmt: skip
    rows: list[dict[str, Value]] = [
        {"condition": name_cell(results, c), "when": when, "left": r.left, "right": r.right, "share": 100 * r.share}
        for c in chosen
        for when, step in (("start", 0), ("end", c.training.steps))
        for r in _coarse(_rows(t, c, step, quantity)).itertuples()
    ]
    return Figure(
        plots.draw(
            f"distribution-{quantity}",
            f"Histograms of {label} for each condition, filled at the start, outlined at the end.",
            drawing,
        ),
        f"Distribution of {label}"
        + ("" if quantity == "logits" else ", first level")
        + ": filled at the start, outlined at the end of training.",
        Table(f"Distribution of {label}, in coarse bins", columns, rows),
    )


def _visible(rows: pd.DataFrame) -> pd.DataFrame:
    """The bins with an end, cut to where the mass is, symmetrically."""
    inner = rows[rows["density"].notna()].sort_values("left")
    filled = inner[inner["share"] > 1e-4]
    if not len(filled):
        return inner
    reach = max(abs(float(filled["left"].min())), abs(float(filled["right"].max())))
    return inner[(inner["left"] >= -reach) & (inner["right"] <= reach)]


def _coarse(rows: pd.DataFrame, most: int = 24) -> pd.DataFrame:
    """Neighbouring bins merged: a table that a person reads."""
    rows = rows.sort_values("left")
    step = max(1, math.ceil(len(rows) / most))
    groups = np.arange(len(rows)) // step
    merged = rows.groupby(groups).agg(left=("left", "first"), right=("right", "last"), share=("share", "sum"))
    return merged[merged["share"] > 0]


@section("gradients", "The gradient", "gradients of the parameters")
def gradients(results: Results) -> Section | None:
    """What the gradient sees of each parameter, and how large the updates are."""
    chosen = distinct(results.main)
    t = results.tables["metrics"]
    frames = []
    for c in chosen:
        found = t[(t["condition"] == c.name) & (t["metric"] == "update_ratio") & (t["parameter"] == "W1")]
        frames.append(found[["condition", "seed", "step", "value"]])
    frame = pd.concat(frames) if frames else pd.DataFrame()
    frame = frame[frame["value"].notna()] if len(frame) else frame
    if not len(frame):
        return None
    band = frame.groupby(["condition", "step"], sort=False)["value"].agg(["mean", "min", "max"]).reset_index()
    band = band.rename(columns={"min": "low", "max": "high"})
    frame, band = (f.assign(step=f["step"].astype(float).replace(0, 0.5)) for f in (frame, band))

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 300, width)
        plots.lines(ax, results.looks, frame, band, y="value", logx=True)
        plots.reference(ax, -3.0, "−3: rule of thumb", end="left")
        ax.set(xlabel="step (the first at 0.5)", ylabel="log₁₀ of update : data, W1")
        plots.key(fig, results.looks, results.titles, [c.name for c in chosen])
        return fig

    columns = [Column("condition", "condition"), Column("parameter", "parameter"), Column("norm", "gradient norm at the start", "", ".4g"),
               Column("end", "gradient norm at the end", "", ".4g"), Column("ratio", "log₁₀ update : data at the start", "", ".2f")]  # fmt: skip
    rows: list[dict[str, Value]] = []
    for c in chosen:
        here = t[(t["condition"] == c.name) & (t["step"] == 0) & (t["metric"] == "grad_norm")]
        for parameter in dict.fromkeys(here["parameter"]):
            ratio = results.metric(c, "update_ratio", 0, parameter=parameter)
            rows.append({
                "condition": name_cell(results, c), "parameter": parameter,
                "norm": interval(results.estimate(results.metric(c, "grad_norm", 0, parameter=parameter))),
                "end": interval(results.estimate(results.metric(c, "grad_norm", c.training.steps, parameter=parameter))),
                "ratio": interval(results.estimate(ratio)) if ratio.notna().all() else None,
            })  # fmt: skip
    table = Table(
        "Gradients of one minibatch, by parameter; no ratio where a parameter or its gradient is zero", columns, rows
    )
    passed = {c.name: results.estimate(results.metric(c, "gradient_pass", 0, 1)) for c in chosen}
    low = min(passed, key=lambda n: passed[n].mean)  # type: ignore[union-attr]
    high = max(passed, key=lambda n: passed[n].mean)  # type: ignore[union-attr]
    return Section(
        anchor="gradients",
        short="The gradient",
        question="What does the gradient see?",
        answer=[
            f"At the start the first level's activation lets {passed[low].mean:.2f} of the gradient through in **{results.titles[low]}** and "  # type: ignore[union-attr]
            f"{passed[high].mean:.2f} in **{results.titles[high]}** (mean local gradient; for tanh 1 − h²)."  # type: ignore[union-attr]
        ],
        figures=[
            *([local] if (local := _local_gradient(results, chosen)) else []),
            Figure(
                plots.draw("update-ratio", "log10 of the ratio of update to data of W1 over the steps: every seed thin, the mean of each condition thick.", drawing),
                "How large an update of W1 is beside W1: every seed, their mean, and the band from smallest to largest. Dashed: 10⁻³, the lecture's rule of thumb.",
                table,
            ),
        ],
        made=made(results, "Gradients are those of the next minibatch of the cell's own stream, recomputed at the step.", "study/shard.py, study/metrics.py", "metrics, histograms"),
    )  # fmt: skip


REACH = 6.0  # pre-activations shown beside tanh; beyond, its gradient is below 0.00003


def _local_gradient(results: Results, chosen: Sequence[Condition]) -> Figure | None:
    """tanh, its local gradient 1 - h², and where the first level's pre-activations lie at the start."""
    t = results.tables["histograms"]
    having = [c for c in chosen if c.setup.hidden[0].activation == "tanh"]
    rows = {c.name: found.sort_values("left") for c in having if len(found := _rows(t, c, 0, "preact"))}
    shown = [c for c in having if c.name in rows and rows[c.name]["share"].notna().all()][:6]
    if not shown:
        return None
    behind = [_passed(results, c, rows[c.name]) for c in shown]
    xs = np.linspace(-REACH, REACH, 121)

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(shown), 3, 170, width, sharey=True)
        for i, (ax, c) in enumerate(zip(axes, shown, strict=True)):
            inner = rows[c.name][rows[c.name]["density"].notna()]
            inner = inner[(inner["right"] > -REACH) & (inner["left"] < REACH)]
            if len(inner):
                scaled_ = inner.assign(density=inner["density"] / inner["density"].max())
                plots.histogram(ax, scaled_, results.looks[c.name])
            plots.curve(ax, list(xs), list(np.tanh(xs)), "tanh" if i == 0 else "")
            ax.plot(xs, 1 - np.tanh(xs) ** 2, color=plots.INK, linewidth=1.4)
            ax.set(xlim=(-REACH, REACH), ylim=(-1.1, 1.2), xlabel=f"{behind[i]['lost']:.0f} % where 1 − h² < 0.02")
            ax.set_title(plots.shorten(c.title, 24))
        return fig

    columns = [
        Column("condition", "condition"),
        Column("lost", "1 − h² below 0.02", "%", ".1f"),
        Column("between", "0.02 to 0.5", "%", ".1f"),
        Column("passed", "above 0.5", "%", ".1f"),
        Column("mean", "mean 1 − h²", "", ".3f"),
    ]
    return Figure(
        plots.draw(
            "local-gradient",
            "For each condition the curve of tanh, its local gradient 1 − h², and a histogram of the pre-activations at the start: "
            + "; ".join(
                f"{c.title}: {row['lost']:.0f} % where less than 0.02 passes"
                for c, row in zip(shown, behind, strict=True)
            )
            + ".",
            drawing,
        ),
        "Solid: 1 − h², what tanh lets through; dashed: tanh itself; filled: where the pre-activations lie at the start, scaled to their peak. "
        "What lies beside the hill of 1 − h² learns next to nothing; below each panel, how much that is.",
        Table(
            "Share of the pre-activations by what tanh lets through at the start, first level, from the bins of the histogram",
            columns,
            behind,
        ),
    )


def _passed(results: Results, condition: Condition, rows: pd.DataFrame) -> dict[str, Value]:
    """Share of the pre-activations by what tanh lets through, %, each bin counted at its middle."""
    middle = (rows["left"] + rows["right"]).to_numpy(float) / 2
    passed, share = 1 - np.tanh(middle) ** 2, 100 * rows["share"].to_numpy(float)
    return {
        "condition": name_cell(results, condition),
        "lost": float(share[passed < 0.02].sum()),
        "between": float(share[(passed >= 0.02) & (passed <= 0.5)].sum()),
        "passed": float(share[passed > 0.5].sum()),
        "mean": interval(results.estimate(results.metric(condition, "gradient_pass", 0, 1))),
    }


@section("growth", "Growth of x @ w", "a probe in the study file")
def growth(results: Results) -> Section | None:
    """How the std of x @ w grows with fan_in."""
    t = results.tables["probe"]
    if not len(t):
        return None
    inits = list(dict.fromkeys(t["init"]))
    looks = plots.palette(inits)
    frame = pd.DataFrame(
        {
            "condition": t["init"].astype(str),
            "seed": t["seed"].astype(int),
            "fan_in": t["fan_in"].astype(float),
            "std": t["std_y"].astype(float),
        }
    )
    fan_ins = sorted(set(frame["fan_in"]))
    guide = (fan_ins, [math.sqrt(n) for n in fan_ins], "√fan_in")

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        plots.loglog(ax, frame, looks, x="fan_in", y="std", guide=guide)
        ax.set(xlabel="fan_in", ylabel="std of the result")
        plots.key(fig, looks, {name: name for name in inits})
        return fig

    columns = [
        Column("init", "what is done to w, and after"),
        Column("fan_in", "fan_in"),
        Column("std", "std of the result", "", ".4f"),
        Column("expected", "theory", "", ".4f"),
    ]
    rows: list[dict[str, Value]] = []
    for init in inits:
        for fan_in in fan_ins:
            here = t[(t["init"] == init) & (t["fan_in"] == fan_in)]
            expected = theory.growth(PROBES[init][0], int(fan_in), PROBES[init][1])
            estimate = results.estimate(pd.Series(here["std_y"].to_numpy(float)))
            rows.append({"init": init, "fan_in": int(fan_in), "std": interval(estimate), "expected": expected})
    table = Table("Standard deviation of x @ w for standard normal x and w, mean over seeds", columns, rows)
    raw, divided = (frame[frame["condition"] == init] for init in inits[:2])
    small = raw[raw["fan_in"] == fan_ins[0]]["std"].mean()
    kept = {init: frame[frame["condition"] == init]["std"] for init in inits[2:]}
    return Section(
        anchor="growth",
        short="Growth of x @ w",
        question="How does the std of x @ w grow, and what keeps it?",
        answer=[
            f"A plain draw multiplies the std by √fan_in: {small:.2f} at fan_in {fan_ins[0]:g} (√{fan_ins[0]:g} = {math.sqrt(fan_ins[0]):.2f}). "
            f"Divided by √fan_in it stays at {span(list(divided.groupby('fan_in')['std'].mean()), '.3f')}. "
            + " ".join(f"{init}: {span(list(v), '.3f')}." for init, v in kept.items())
        ],
        figures=(Figure(plots.draw("growth-loglog", "Standard deviation of x @ w against fan_in on log axes, with the square root as reference.", drawing),
                        "Standard deviation against fan_in on log axes; dashed: √fan_in.", table),),
        made=made(results, "Standard normal x and w pass through the same Init.apply as the models' weights.", "study/probe.py", "probe"),
    )  # fmt: skip
