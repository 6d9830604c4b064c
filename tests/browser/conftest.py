"""A synthetic report with every part of the page, and the system's Chromium to look at it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

from study.report.build import build_report
from study.report.figures import plots
from study.report.html.page import (
    Figure,
    Highlight,
    Interval,
    Listing,
    Made,
    Section,
    Table,
    TableCell,
    TableColumn,
    Term,
    literal,
    render_notebook,
    render_page,
)
from study.report.screenshot import chromium
from study.spec.read import read_study
from tests.support.finished import finished
from tests.support.tiny import GONE, tiny, write

ROOT = Path(__file__).parents[2]

TITLES = {
    "baseline": "Baseline",
    "fixed-output": "Fixed output layer",
    "scaled-w1": "Scaled W1",
    "kaiming": "Kaiming",
    "batchnorm": "BatchNorm",
    "batchnorm-calibrated": "BatchNorm with calibration",
}
HOSTILE = {
    "markup": '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"> </style>',
    "quotes": "\"double\" 'single' `code` **bold** [link](javascript:alert) $x_1$ {{ 7*7 }}",
    "rtl": "\u202eright to left\u202c שלום עולם \u200f!",
    "emoji": "🧠 seed 🌱 and 初期化の条件",
    "long": "unbroken" * 38,
    "control": "a\x00b\x07c\nnew line\ttab " + "words and words " * 18,
}


def intervals(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and a rough interval per condition."""
    found = frame.groupby("condition", sort=False)["value"].agg(["mean", "std"]).reset_index()
    return found.assign(low=found["mean"] - found["std"], high=found["mean"] + found["std"])


def synthetic(titles: dict[str, str], seeds: int = 10) -> str:
    """A page of the study's shape and size, from made-up numbers."""
    rng = np.random.default_rng(0)
    names, looks = list(titles), plots.palette(list(titles))
    first = pd.DataFrame(
        {
            "condition": name,
            "seed": seed,
            "value": 26.7 + rng.normal() if i == 0 else 3.296 + 0.004 * abs(rng.normal()) + 0.002 * i,
        }
        for i, name in enumerate(names)
        for seed in range(seeds)
    )

    def named(name: str, href: str | None = None) -> TableCell:
        return TableCell(titles[name], sort=name, look=looks[name], href=href)

    def first_loss(width: int) -> Any:
        fig, axes = plots.new(2, 2, plots.strip_height(len(names), width), width)
        rows = [first, first[first.condition != names[0]] if len(names) > 1 else first]
        for ax, part, label in zip(axes, rows, ["all conditions", "without the first"], strict=True):
            plots.draw_strip(
                ax,
                part,
                looks,
                titles,
                intervals=intervals(part),
                label="loss before training (nats)",
                named=ax is axes[0] or width == plots.NARROW,
                names=names,
            )
            ax.set_title(label)
            plots.reference(ax, math.log(27), "ln 27", axis="x")
        return fig

    edges = np.linspace(-1, 1, 11)
    bins = pd.concat(
        pd.DataFrame(
            {"condition": n, "left": edges[:-1], "right": edges[1:], "density": 0.2 + edges[:-1] ** 8 * (6 - i % 6)}
        )
        for i, n in enumerate(names)
    )

    def spread(width: int) -> Any:
        fig, axes = plots.new(min(len(names), 6), 3, 150, width, sharey=True)
        for ax, name in zip(axes, names, strict=False):
            plots.histogram(ax, bins[bins.condition == name], looks[name])
            ax.set_title(plots.shorten(titles[name], 24 if width > plots.NARROW else 18))
            ax.set_xlabel("h")
        axes[0].set_ylabel("density")
        return fig

    steps = np.unique(np.round(np.geomspace(1, 200_000, 200))).astype(int)
    curves = pd.concat(
        pd.DataFrame(
            {
                "condition": n,
                "seed": s,
                "step": steps,
                "loss": 2.1
                + (8 if i == 0 else 1.2) / (1 + steps / (300 + 40 * i))
                + 0.02 * rng.normal(size=len(steps)),
            }
        )
        for i, n in enumerate(names)
        for s in range(seeds)
    )
    band = curves.groupby(["condition", "step"], sort=False)["loss"].agg(["mean", "std"]).reset_index()
    band = band.assign(low=band["mean"] - band["std"].fillna(0), high=band["mean"] + band["std"].fillna(0))

    def training(width: int) -> Any:
        fig, axes = plots.new(1, 1, 340, width)
        plots.draw_lines(axes[0], looks, curves, band, logx=True)
        axes[0].set(ylabel="training loss (nats)", xlabel="step", ylim=(1.9, 5))
        plots.reference(axes[0], math.log(27), "ln 27: as good as guessing")
        plots.key(fig, looks, titles)
        return fig

    probe = pd.DataFrame(
        {"condition": n, "fan_in": f, "seed": s, "std": f ** (0.5 if i == 0 else 0) * (1 + 0.03 * rng.normal())}
        for i, n in enumerate(names[:2])
        for f in (10, 30, 100, 300, 1000)
        for s in range(5)
    )

    def growth(width: int) -> Any:
        fig, axes = plots.new(1, 1, 300, width)
        fans = [10, 30, 100, 300, 1000]
        plots.loglog(axes[0], probe, looks, x="fan_in", y="std", guide=(fans, [f**0.5 for f in fans], "√fan_in"))
        axes[0].set(xlabel="fan_in", ylabel="std of x @ w")
        plots.key(fig, looks, titles, names[:2])
        return fig

    def lit(width: int) -> Any:
        fig, axes = plots.new(min(len(names), 4), 2, 170, width)
        for i, ax in enumerate(axes):
            plots.mask(ax, rng.random((32, 200)) < 0.63 / (1 + 2 * i))
            ax.set_title(plots.shorten(titles[names[i]], 30))
        return fig

    def single(width: int) -> Any:
        fig, axes = plots.new(1, 1, 220, width)
        plots.histogram(axes[0], bins[bins.condition == names[0]], looks[names[0]])
        return fig

    values = [
        TableColumn("condition", "Condition"),
        TableColumn("seed", "Seed"),
        TableColumn("value", "Loss", "nats", ".4f"),
    ]
    behind = Table("Loss before training, every seed", values, first.to_dict("records"))
    ladder = Table(
        "The ladder: `mean`, interval and n over seeds",
        [
            TableColumn("condition", "Condition"),
            TableColumn("change", "Change from its parent"),
            TableColumn("initial", "Initial loss", "nats", ".3f"),
            TableColumn("saturated", "Saturated", "%", ".1f"),
            TableColumn("logits", "Logits, range", numeric=True),
            TableColumn("train", "Train", "nats", ".4f"),
            TableColumn("dev", "Dev", "nats", ".4f"),
            TableColumn("test", "Test", "nats", ".4f"),
        ],
        [
            {
                "condition": named(name, f"notebooks/{name}.html" if name in TITLES else None),
                "change": "output weight std 1 → 0.01" if i else None,
                "initial": Interval(26.71 - 3.9 * i, 26.3 - 3.9 * i, 27.1 - 3.9 * i, seeds),
                "saturated": 63.2 - 9 * i,
                "logits": TableCell("−31.2 to 30.4", sort=61.6),
                "train": Interval(2.12 - 0.01 * i, 2.11 - 0.01 * i, 2.13 - 0.01 * i, seeds),
                "dev": Interval(2.1691, 2.16, 2.18, seeds),
                "test": None,
            }
            for i, name in enumerate(names)
        ],
    )
    ledger = Table(
        "Every claim of the study, tested",
        [TableColumn("claim", "Claim"), TableColumn("found", "Found"), TableColumn("verdict", "Verdict")],
        [
            (
                "The repaired output layer starts at ln V",
                "3.3058 against 3.2958",
                TableCell("holds", sort=0, tone="good"),
            ),
            (
                f"{titles[names[-1]]} beats every other condition",
                "difference 0.002 nats, interval holds 0",
                TableCell("cannot be told", sort=1, tone="unsure"),
            ),
            ("W2 = 0 trains as well", "0.31 nats worse", TableCell("fails", sort=2, tone="bad")),
        ],
    )
    made = Made(
        "Ten seeds of every condition, measured on the whole training split.",
        [
            ("cells", "60 (6 conditions × 10 seeds)"),
            ("config", "baseline:\n  hidden:\n    weight: {std: 1}\n"),
            ("code", "study/sections.py: first_loss"),
            ("command", "study run --only baseline"),
        ],
    )
    who = ", ".join(f"**{literal(title)}**" for title in titles.values())
    sections = [
        Section(
            "verdict",
            "Does the study hold what it claims?",
            ["Of 3 claims, 1 holds, 1 fails and 1 cannot be told."],
            "Verdict",
            tables=[ledger],
            made=made,
        ),
        Section(
            "ladder",
            "What does each repair change?",
            [f"The conditions are {who}. See [the first loss](#first-loss)."],
            "The ladder",
            tables=[ladder],
        ),
        Section(
            "first-loss",
            "Why is the first loss wrong?",
            ["The baseline starts at **26.71** nats where guessing costs `ln 27 = 3.2958`.", "Every seed is a dot."],
            "First loss",
            [
                Figure(
                    plots.draw(
                        "first-loss-strip",
                        "Strip of initial losses: the first condition is near 27, the others at ln 27.",
                        first_loss,
                    ),
                    "Loss on the full training split before the first step. Bars are intervals of the mean over seeds.",
                    behind,
                )
            ],
            made=made,
        ),
        Section(
            "saturation",
            "How much of the hidden layer is saturated?",
            ["Most of it, at first."],
            "Saturation",
            [
                Figure(
                    plots.draw("h-spread", "Histograms of h: piled up at ±1 at first.", spread),
                    "Distribution of h at the start.",
                    Table(
                        "Bins of h",
                        [TableColumn("condition"), TableColumn("left"), TableColumn("right"), TableColumn("density")],
                        bins.to_dict("records"),
                    ),
                ),
                Figure(
                    plots.draw("h-map", "Examples by units, dark where saturated.", lit),
                    "Dark: |h| > 0.99.",
                    Table(
                        "Share of saturated units",
                        [TableColumn("condition"), TableColumn("share")],
                        [(n, 0.63 / (1 + 2 * i)) for i, n in enumerate(names)],
                    ),
                ),
                Figure(plots.draw("histogram", "A histogram.", single), "A histogram.", behind),
            ],
        ),
        Section(
            "growth",
            "How does the std grow with fan_in?",
            ["As the root."],
            "Growth of x @ w",
            [
                Figure(
                    plots.draw(
                        "probe-growth", "std against fan_in on log axes, with the square root as reference.", growth
                    ),
                    "Five seeds per point.",
                    Table(
                        "Probe",
                        [TableColumn("condition"), TableColumn("fan_in"), TableColumn("seed"), TableColumn("std")],
                        probe.to_dict("records"),
                    ),
                )
            ],
        ),
        Section(
            "training",
            "How long until the repairs stop to matter?",
            ["The first steps only squash the logits."],
            "Training",
            [
                Figure(
                    plots.draw(
                        "training-curves",
                        "Training curves: the first condition spends its first steps on the logits.",
                        training,
                    ),
                    "Thin: one seed. Thick: their mean.",
                    Table(
                        "Mean training loss",
                        [TableColumn("condition"), TableColumn("step"), TableColumn("mean")],
                        plots.thin(band, ["condition"], "step", 8, log=True)[["condition", "step", "mean"]].to_dict(
                            "records"
                        ),
                    ),
                )
            ],
        ),
        Section(
            "glossary",
            "What do the words mean?",
            ["In the order of the report."],
            "Glossary",
            terms=[
                Term(
                    "Kaiming initialisation",
                    "Keeps the std of pre-activations at one. See [He et al. 2015](https://arxiv.org/abs/1502.01852).",
                    "std(W) = gain / √fan_in,  gain(tanh) = 5/3",
                ),
                Term(literal(titles[names[0]]), "Everything a plain draw."),
            ],
        ),
        Section(
            "provenance",
            "Where do the numbers come from?",
            ["From one run."],
            "Provenance",
            listings=[Listing("experiments.yaml", "conditions:\n  baseline: {title: Baseline}\n" * 12)],
        ),
    ]
    return render_page(
        title="How should a neural network start?" if titles is TITLES else titles[names[0]] + " & study",
        stamp="profile: quick — 3 seeds × 2,000 steps; not the published study",
        lead=["A character-level network, six ways to draw its first weights: what each repair changes."],
        highlights=[
            Highlight("26.7 → 3.30", "nats, initial loss before and after the output fix"),
            Highlight("63 % → 0.9 %", "saturated tanh units"),
            Highlight("2.1057", "nats on dev, the best condition"),
        ],
        sections=sections,
        left_out={"learning-rate": "Learning-rate sweep: this study has none."},
        footer="Data: US Social Security Administration, 2018.",
        facts=[("source", "0a30b5557f192f32"), ("tables", "229a21645134a8c6"), ("versions", "python 3.11, torch 2.9")],
    )


NOTEBOOK = """<div class="jp-Cell"><h1 id="k">Kaiming</h1>
<p style="color:red">Text <script>window.hacked = 3</script>end.</p>
<div class="jp-InputPrompt">In [1]:</div>
<div class="highlight"><pre><span class="k">from</span> study <span class="k">import</span> tables
</pre></div><style scoped>td { color: red }</style>
<table border="1" class="dataframe"><thead><tr><th>a</th></tr></thead>
<tbody><tr><td onclick="window.hacked = 4">1</td></tr></tbody></table><a href="javascript:window.hacked=5">x</a>
<img src="http://example.org/a.png" onerror="window.hacked = 6"></div>"""


@pytest.fixture(scope="package")
def pages(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html, hostile.html, many.html, one.html and notebooks/kaiming.html."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "notebooks").mkdir()
    many = {f"condition-{i}": f"Condition {i} of twenty" for i in range(20)}
    files = {
        "report.html": synthetic(TITLES, 4),
        "hostile.html": synthetic(HOSTILE, 1),
        "many.html": synthetic(many, 1),
        "one.html": synthetic({"only": "The only one"}, 1),
        "notebooks/kaiming.html": render_notebook(title="Kaiming", stamp="profile: quick", body_html=NOTEBOOK),
    }
    for name, html in files.items():
        (folder / name).write_text(html, encoding="utf-8", newline="\n")
    return folder


def unavailable(what: str) -> NoReturn:
    """Skip here, but fail under CI: there the page must have been looked at."""
    reason = f"{what}; the browser tests need `pip install playwright axe-playwright-python` and Chromium"
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="package")
def axe() -> str:
    """axe-core's script, from the axe-playwright-python package."""
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        unavailable("no axe-playwright-python")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests of this folder."""
    path = chromium()
    if find_spec("playwright") is None:
        unavailable("no playwright")
    if path is None:
        unavailable("no chromium, chromium-browser or google-chrome on PATH and no $CHROMIUM")
    from playwright.sync_api import sync_playwright

    arguments = ["--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=[*arguments, "--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Any]]:
    """look(file, "anchor", width=1280, dark=False, js=True): a file, offline; errors, requests and violations of its
    policy fail the test."""
    contexts, problems = [], []

    def go(file: Path, anchor: str = "", width: int = 1280, dark: bool = False, js: bool = True, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=js,
            offline=True,
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        own = file.as_uri()
        page.on(  # Chromium reports what the policy forbids as an error here
            "console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda r: problems.append(r.url[:200]) if not r.url.startswith((own, "data:", "blob:")) else None
        )
        page.goto(own + (f"#{anchor}" if anchor else ""))
        return page

    yield go
    for context in contexts:
        context.close()
    assert not problems, problems


@pytest.fixture
def visit(look: Callable[..., Any], pages: Path) -> Callable[..., Any]:
    """visit("report.html#anchor", …): look() at one of the synthetic pages."""

    def go(name: str, **options: Any) -> Any:
        file, _, anchor = name.partition("#")
        return look(pages / file, anchor, **options)

    return go


# ------------------------------------------------------------------------------------------- what the code makes itself


@pytest.fixture(scope="package")
def real(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the committed report, its page rendered again from its tables."""
    copy = tmp_path_factory.mktemp("real") / "reports"
    shutil.copytree(ROOT / "reports", copy)
    return build_report(read_study(ROOT / "experiments.yaml"), copy, notebooks=False)


@pytest.fixture(scope="package")
def hostile(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and the executed notebooks of a study whose every word is hostile, trained for a few steps."""
    folder = tmp_path_factory.mktemp("hostile")
    names = {key: name(title) for key, title in HOSTILE.items() if key != "control"}  # a study file may not hold those
    first, *others = names
    conditions: dict[str, Any] = {names[first]: {**tiny()["conditions"]["baseline"], "title": HOSTILE[first]}}
    for key in others:
        changed = {"title": HOSTILE[key], "from": names[first], "output": {"weight": {"std": 0.01}, "bias": {"std": 0}}}
        conditions[names[key]] = changed
    changes = {"title": HOSTILE["markup"], "conditions": conditions, "seeds": 1, "published": GONE, "probe": GONE}
    claims = [{"id": "x", "sentence": HOSTILE["quotes"], "measure": "loss.train", "of": list(conditions), "below": 1}]
    words = "".join(
        f"{word}\n" for word in ("<b>", "&amp;", "\"'", "שלום", "🧠🌱", "\u200fa", "{{7}}") for _ in range(9)
    )
    path = write(folder, {**changes, "claims": claims, "groups": GONE, "profiles": GONE}, words.encode())
    spec = read_study(path)
    return build_report(spec, finished(spec, folder / "reports"))


def name(title: str) -> str:
    """As much of a title as a condition's name may hold."""
    return "".join(c for c in title if c.isprintable() and c != ",")[:100].strip()
