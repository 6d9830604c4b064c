"""The section on the method: how quantities were measured, and the meaning of the words."""

from __future__ import annotations

from typing import Any

from study.analysis.results import Results
from study.report.html.page import Term
from study.report.sections.common import data_words
from study.report.sections.registry import Content, section


@section(
    "Method and words",
    "How was it measured, and what do the words mean?",
    needs="nothing",
)
def method_section(results: Results) -> Content | None:
    """Explain how quantities were measured, and the meaning of the words."""
    data, V = results.facts["data"], results.vocabulary
    about = f" ({results.spec.data.about})" if results.spec.data.about else ""
    terms = (
        Term("fan_in", "Number of inputs of a unit: rows of its weight matrix."),
        Term(
            "gain",
            "Factor that makes up for what an activation takes from the spread.",
            "W ~ N(0, (gain / √fan_in)²); gain(tanh) = 5/3, gain(relu) = √2",
        ),
        Term(
            "initial loss",
            "Mean loss before the first step; ln V for a uniform guess.",
            f"ln {V} = {results.uniform:.4f}",
        ),
        Term(
            "saturation",
            "Share of tanh outputs (units × examples) so near ±1 that almost no gradient passes.",
            "|h| > 0.97, |h| > 0.99; local gradient 1 − h²",
        ),
        Term("dead unit", "A unit saturated on every example of the training split (relu: zero on every one)."),
        Term(
            "update : data",
            "Size of an update beside the parameter that it changes.",
            "log₁₀( lr · std(gradient) / std(parameter) )",
        ),
        Term(
            "running statistics",
            "Average of batch means and stds kept during training.",
            "m ← 0.999 · m + 0.001 · batch",
        ),
        Term(
            "calibrated statistics",
            "Mean and unbiased std of every unit over the whole training split, measured once after training.",
        ),
        Term("batch statistics", "Mean and std of the examples that are read together."),
        Term(
            "paired by seed",
            "Seed s gives every condition the same unscaled draws and the same minibatches, so differences are taken"
            " within a seed.",
        ),
        Term("cell", "One training: a network, a seed, a schedule; a model-step is one SGD step of one of them."),
        Term("layer", "A layer with weights: layer 1 is the first hidden one, the last one is the output."),
        Term("common step", "The last step of the shortest training: there all conditions can be compared."),
        Term(
            "sign-flip test",
            "How often differences of random sign have a mean as large as the measured one; with n seeds p is at least"
            " 2 / 2ⁿ.",
        ),
        Term(
            "Holm",
            "Of m tests the smallest p is multiplied by m, the next by m − 1, …: the chance of any false finding stays"
            " below 5 %.",
        ),
        Term(
            "TOST",
            "Two one-sided t tests: equivalent, if the 90 % interval of the difference lies within the margin.",
        ),
        Term("d_z", "Effect size of paired differences: their mean over their standard deviation."),
        Term("BCa", "Bootstrap interval, corrected for bias and skewness."),
        Term("interquartile mean", "Mean of the middle half of the seeds."),
        Term("mean field", "Theory of wide layers: units of a layer are independent draws of one distribution."),
        Term(
            "diverged", "A training with a NaN or an infinity in its loss or parameters: counted, never averaged away."
        ),
    )
    return Content(
        answer=[
            (
                f"The data are {data_words(results)} over {V} {results.noun}s{about}, shuffled and cut into"
                f" {', '.join(f'{k} {v:,}' for k, v in data['examples'].items())} examples. Every loss and activation"
                " figure is that of a full split, in nats."
            ),
            *_repeated(data),
            "The unit of replication is the seed: an interval says what another seed would do, not another example.",
        ],
        terms=terms,
    )


def _repeated(data: dict[str, Any]) -> list[str]:
    """The sentence on words that occur twice. Other data than words have none."""
    if "words_twice" not in data:
        return []
    if not data["words_twice"]:
        return ["No word occurs twice, so the splits share none."]
    shared = ", ".join(
        f"{n:,} of {data['words'][split]:,} words of {split}" for split, n in data["shared_with_train"].items()
    )
    return [
        f"{data['words_twice']:,} words occur more than once, so the splits, cut by row, share some: {shared}"
        " are in train, too."
    ]
