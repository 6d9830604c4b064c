"""A study file becomes a Spec as it is meant, or one line says where it goes wrong, what was got and what would do."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import SpecError
from study.network.inits import Init
from study.network.layers import Layer
from study.spec.read import read_study
from study.training.cells import Schedule
from tests.support.tiny import GONE, HERE, dump, load, one_line, prepare, refusal, tiny, write

ALONE = {"conditions": {"only": tiny()["conditions"]["baseline"]}, "published": GONE, "claims": GONE, "groups": GONE}


# -- what a study file means --------------------------------------------------------------------------------------


def test_the_smallest_study_is_one_condition(tmp_path: Path) -> None:
    spec = load(tmp_path, {**ALONE, "profiles": GONE, "probe": GONE, "measure": GONE, "evaluation": GONE})
    (condition,) = spec.conditions
    assert (condition.parent, condition.statistics, spec.published, spec.claims) == (None, "none", None, ())
    assert condition.network.hidden == (Layer(Init(std=1.0), Init(std=1.0), "none", "tanh"),)
    assert condition.network.output == Layer(Init(std=3.0), Init(std=1.0), "none", "linear")
    assert condition.schedule == Schedule(8, 30, ((0, 0.1), (20, 0.01)))


@pytest.mark.parametrize(
    "key", ["data.sha256", "data.vocabulary", "probe", "published", "published.runs.fixed.tolerance"]
)
def test_none_leaves_out_what_may_be_left_out(tmp_path: Path, key: str) -> None:
    found = [load(tmp_path, {key: none}) for none in ("none", None)]
    assert found[0].digest() == found[1].digest()


def test_a_number_of_seeds_is_that_many_from_0(tmp_path: Path) -> None:
    assert load(tmp_path, {"seeds": 3}).seeds == (0, 1, 2)
    assert load(tmp_path, {"seeds": [7, 0, 2**63 - 1]}).seeds == (7, 0, 2**63 - 1)
    assert read_study(write(tmp_path), seeds=[5]).seeds == (5,)


# -- identity -----------------------------------------------------------------------------------------------------


def test_the_digest_of_the_projects_own_study_is_that_of_its_reports() -> None:
    """Tables are of this study as long as it stands: the digest is spec_sha256 of reports/manifest.json."""
    found = read_study(HERE.parents[1] / "experiments.yaml").digest()
    assert found == "b78f6d31729fe329e900c76804d5dabdce9365eea4b15f7323ff43933c4fe8c5"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"title": "Other"}, True),
        ({"conditions.fixed.title": "Other"}, True),
        ({"claims": []}, True),
        ({"published.runs.fixed.train": 3.0}, True),
        ({"data.path": "./tiny.txt"}, True),
        ({"seeds": [0, 1]}, True),
        ({"training.lr": {0: 0.1, 20: 0.02}}, False),
        ({"seeds": 3}, False),
        ({"measure": [9]}, False),
        ({"conditions.fixed.output.bias": {"std": 0.1}}, False),
        ({"conditions.calibrated.statistics": "batch"}, False),
        ({"published.seed": 8}, False),
        ({"probe.units": 21}, False),
        ({"data.shuffle_seed": 43}, False),
        ({"evaluation.batch_sizes": [2]}, False),
    ],
)
def test_the_digest_changes_with_what_determines_a_number(tmp_path: Path, changes: dict[str, Any], same: bool) -> None:
    assert (load(tmp_path, changes).digest() == load(tmp_path).digest()) is same


def test_the_documents_hash_ignores_comments_and_layout(tmp_path: Path) -> None:
    plain = load(tmp_path).document_sha256
    commented = read_study(HERE / "tiny.yaml", name="tiny.yaml")
    assert commented.document_sha256 == plain
    assert load(tmp_path, {"title": "Other"}).document_sha256 != plain


# -- what is refused ----------------------------------------------------------------------------------------------

LEAVES = {
    # a place -> values that may not stand there; null, text, a list and so on are tried at every place besides
    "title": [3, [], {}, None],
    "data": ["names.txt", [], None],
    "data.path": ["", 3, None],
    "data.sha256": ["abc", "A" * 64, 3],
    "data.vocabulary": ["", "aa", ["a"]],
    "data.boundary": ["", "..", 0, "\n", None],
    "data.splits": [{}, [0.8, 0.1, 0.1], {"train": 0.8, "dev": 0.2}, None, {"train": 0.8, "val": 0.1, "test": 0.1}],
    "data.splits.train": [0, 1, -0.6, 0.5, 0.7, "0.6", math.nan, math.inf],
    "data.shuffle_seed": ["x", 1.5, None],
    "model": [[], None],
    "model.context": [0, 1001, 2.0, "3", True, None],
    "model.embedding": [0, -1, 10**9, None],
    "model.hidden": [[], 8, [0], [8.0], [10**9], [8] * 101, None, [100_000, 100_000]],
    "training": [[], None],
    "training.batch_size": [0, -1, 1, 10**9, "8", None],  # 1: there is BatchNorm
    "training.steps": [0, -1, 10**10, 20, 1e3, None],  # 20: the rate changes there
    "training.lr": [0, -1, {}, [], "0.1", {5: 0.1}, {0: 0}, {0: math.nan}, {0: math.inf}, {0: 0.1, 30: 0.01}, None],
    "seeds": [0, -1, [], [0, 0], [-1], [2**63], [1.5], 10**9, "3", True, None],
    "measure": [[0], [31], [-1], 5, ["x"], None],
    "evaluation.batch_sizes": [[1, 2], [0], 2, None],
    "probe.fan_in": [[], [0], 10, ["x"]],
    "probe.examples": [1, 0, 10**9],
    "groups": [[], "ladder", None],
    "groups.side": [None, "x"],
    "groups.side.training": [{"steps": -1}, {"lr": {5: 1}}, {"step": 5}],
    "profiles": [[], "quick", None],
    "profiles.quick": [3, [], "x", {"data": {}}, {"seed": 1}, {1: 2}],
    "conditions": [{}, [], None, {"a": None}, {1: {}}],
    "conditions.fixed": [None, [], "baseline", {}],
    "conditions.fixed.title": [3, []],
    "conditions.fixed.from": ["basline", "fixed", "batchnorm", 3, ""],
    "conditions.fixed.group": ["sides", 3],
    "conditions.fixed.statistics": ["running", "mean", 3],
    "conditions.batchnorm.statistics": ["none", None],
    "conditions.fixed.embedding": [{"gain": 1}, {}, {"std": 1, "gain": 1}, 1],
    "conditions.fixed.hidden": [[], [{}, {}], "tanh", [3], {"weights": {"std": 1}}, {"activation": "selo"}],
    "conditions.fixed.output": [[], 3],
    "conditions.fixed.output.weight": [
        0.01,
        None,
        {},
        {"std": -1},
        {"std": math.nan},
        {"std": "1e-2x"},
        {"gain": "tan"},
    ],
    "conditions.fixed.output.bias": [0, "off", {"mean": 0}],
    "conditions.fixed.output.norm": ["layers", True],
    "conditions.fixed.output.activation": ["softmax", None, "none"],
    "conditions.fixed.model": [{"hidden": []}, {"width": 3}, {"hidden": [8, 8], "context": 0}],
    "conditions.fixed.training": [{"steps": 20}, {"lr": {1: 1}}, {"epochs": 3}],
    "sweeps": [[], None, {"s": {}}, {"s": 3}],
    "sweeps.s": [
        {"of": ["fixd"], "lr": [1]},
        {"of": [], "lr": [1]},
        {"of": ["fixed"], "lr": []},
        {"of": ["fixed"], "lr": [0]},
        {"of": ["fixed"], "lr": [math.nan]},
        {"of": ["fixed"], "lr": [0.1, 0.1 + 1e-16 * 200]},  # one name for both
        {"of": ["fixed"], "lr": [1], "seeds": 0},
        {"of": ["fixed"], "lr": [1], "training": {"lr": 0.5}},
        {"of": ["fixed"], "lr": [1], "training": {"steps": 0}},
        {"of": ["batchnorm"], "lr": [1], "training": {"batch_size": 1}},
    ],
    "twins": [[], {}, {"of": ["fixd"]}, {"of": []}, {"of": ["fixed"], "seeds": -1}, {"of": ["fixed"], "short": {}}],
    "published": [[], 3],
    "published.source": [GONE, 3],
    "published.seed": [-1, 2**63, None, GONE],
    "published.protocol": ["torch", "paired", None],
    "published.runs": [{}, [], None],
    "published.runs.fixed.from": [GONE, "nope"],
    "published.runs.fixed.train": [GONE, math.nan, "2.1", None],
    "published.runs.fixed.tolerance": [0, -1, math.inf],
    "published.runs.fixed.statistics": ["batch"],
    "claims": [{}, "x", None],
    "claims.0.id": ["", None, "repaired"],
    "claims.0.sentence": ["", GONE],
    "claims.0.measure": ["loss", "loss.val", "los.train", "grad_norm", "grad_norm.X1", "dead.W1", "", None],
    "claims.0.at": ["start", -1, None],
    "claims.0.layer": [0, "1"],
    "claims.0.of": ["baselin", ["fixed", "x"], [], 3, [3], {"nrm": 1}, {"depth": {"over": 1}}, {"depth": [{}]}, None],
    "claims.0.above": [GONE, "log(V)", "log(vocabulary) + 1.2.3", "log(vocabulary) - .", "", math.inf, [1]],
    "claims.0.near": [2.0],  # a second comparison
    "claims.0.within": [0.1, -1],
    "claims.0.gate": ["yes", 1],
    "claims.1.within": [GONE, -0.1, math.nan],
    "claims.0.minus": ["basline", "baseline", 3],
    "claims.2.minus": ["zero"],  # less_than is a difference already
    "claims.2.less_than": ["baselin", "fixed"],
    "claims.3.margin": [GONE, 0, -1],
}


@pytest.mark.parametrize("place", LEAVES)
def test_a_value_that_may_not_stand_there_is_refused_at_its_place(tmp_path: Path, place: str) -> None:
    for value in LEAVES[place]:
        message = refusal(tmp_path, {place: value})
        assert message.startswith("tiny.yaml:"), message


@pytest.mark.parametrize(
    "place",
    [
        "",
        "data",
        "data.splits",
        "model",
        "training",
        "evaluation",
        "probe",
        "groups.side",
        "groups.side.training",
        "profiles.quick",
        "conditions.fixed",
        "conditions.fixed.output",
        "conditions.fixed.output.weight",
        "conditions.fixed.model",
        "conditions.fixed.training",
        "published",
        "published.runs.fixed",
        "claims.0",
    ],
)
def test_an_unknown_key_is_refused_at_its_place(tmp_path: Path, place: str) -> None:
    where = f"{place}.unheard_of".removeprefix(".")
    message = refusal(tmp_path, {where: 1})
    assert f": {where}: " in message or place.startswith("profiles")
    assert "unheard_of" in message


@pytest.mark.parametrize("key", ["data", "model", "training", "seeds", "conditions", "data.path", "model.hidden"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert f"missing key '{key.split('.')[-1]}'" in refusal(tmp_path, {key: GONE})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"conditions.fixed.output.weight": {"gian": 1}},
            "conditions.fixed.output.weight.gian: unknown key 'gian'; did you mean 'gain'?",
        ),
        (
            {"conditions.fixed.from": "basline"},
            "conditions.fixed.from: no condition 'basline'; did you mean 'baseline'?",
        ),
        ({"data.splits.test": 0.1}, "data.splits: the shares must add up to 1, got 0.9"),
        ({"title": 2018}, "title: expected text, got 2018; put it in quotes"),
        ({"seeds": 0}, "seeds: expected a number of seeds from 1 to 100,000, or a list of them, got 0"),
        (
            {"claims.0.of": 3},
            "claims.0.of: expected a condition, a list of conditions or a mapping of properties, got 3",
        ),
        ({"training.steps": -1}, "training.steps: expected 0 or more, got -1"),
        (
            {"conditions.zero.model": {"hidden": [4, 4]}, "conditions.zero.hidden": [{}, {}, {}]},
            "conditions.zero.hidden: 3 layers listed for the 2 of model.hidden [4, 4]",
        ),
        (
            {"conditions.batchnorm.training": {"batch_size": 1}},
            "conditions.batchnorm.training.batch_size: "
            "BatchNorm needs 2 or more, as one example has no standard deviation; got 1",
        ),
        (
            {"groups.side.training": {"steps": 10}},
            "groups.side.training.lr: changes at step 20, but training ends after 10; "
            "a shorter training names its own lr",
        ),
        (
            {"claims.0.near": 2, "claims.0.within": 1},
            "claims.0: expected one of near, above, below, less_than, equivalent_to, got near, above",
        ),
        ({"claims.0.measure": "los.train"}, "claims.0.measure: unknown measurement 'los'; did you mean 'loss'?"),
        ({"claims.0.of": {"nrm": "batch"}}, "claims.0.of: unknown property 'nrm'; did you mean 'norm'?"),
        ({"published.protocol": "paired"}, "published.protocol: expected 'lecture', got 'paired'"),
        (
            {"published.runs.fixed.from": GONE},
            "published.runs.fixed: missing key 'from'; a published run names the condition that it changes",
        ),
    ],
)
def test_a_message_says_where_what_and_what_would_do(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, changes).split(": ", 1)[1] == message


def test_the_line_is_that_of_the_key(tmp_path: Path) -> None:
    line = int(refusal(tmp_path, {"conditions.fixed.output.weight": {"gian": 1}}).split(":")[1])
    assert "gian" in (tmp_path / "tiny.yaml").read_text().split("\n")[line - 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions.fixed": {"x" * 5000: 1}},
        {"conditions.fixed.from": "x" * 5000},
        {"conditions.fixed.group": "x" * 5000},
        {"conditions.fixed.hidden.weight": {"gain": "x" * 5000}},
        {"profiles.quick": {"x" * 5000: 1}},
        {"claims.0.of": "x" * 5000},
        {"claims.0.of": {"x" * 5000: 1}},
        {"claims.0.measure": "x" * 5000},
        {"claims.0.measure": "loss." + "x" * 5000},
        {"claims.1.near": "x" * 5000},
        {"twins": {"of": ["x" * 5000]}},
        {
            "conditions": {f"{i:03}" + "n" * 97: tiny()["conditions"]["baseline"] for i in range(30)},
            "claims": [],
            "published": GONE,
            "twins": {"of": ["x"]},
        },
    ],
)
def test_a_message_stays_short_however_long_the_word(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert len(refusal(tmp_path, changes)) < 600


@pytest.mark.parametrize("name", ["", " ", "a,b", "a\nb", "\x00", "\u202e", "x" * 101, " padded", "none"])
@pytest.mark.parametrize("place", ["conditions", "groups", "profiles", "published.runs"])
def test_a_name_that_would_break_a_line_or_a_list_is_refused(tmp_path: Path, place: str, name: str) -> None:
    study = tiny()
    entries = study["published"]["runs"] if place == "published.runs" else study[place]
    entries[name] = {"from": "baseline", "train": 2, "dev": 2} if place != "groups" else {}
    assert "expected a name of 1 to 100 printable characters" in refusal(tmp_path, {place: entries})


@pytest.mark.parametrize(
    "name", ["a/../../b", "<script>alert(1)</script>", "..", "--help", "ünï 😀", "a'b\"c", "CON", "x" * 100]
)
def test_any_other_name_is_a_name(tmp_path: Path, name: str) -> None:
    study = tiny()
    study["conditions"][name] = {"from": "baseline"}
    assert load(tmp_path, {"conditions": study["conditions"]}).condition(name).title == name


# -- anything at all ----------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([0.1, 1e-9, math.nan, math.inf, -math.inf, 10**30, 2**63])
    | st.sampled_from(
        ["none", "batch", "tanh", "baseline", "fixed", "calibrated", "loss.train", "log(vocabulary)", ".", ""]
    )
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
    lambda value: (
        st.lists(value, max_size=3)
        | st.dictionaries(
            st.sampled_from(["std", "gain", "from", "hidden", "steps", "lr", "weight", "norm", "of", "min", "max"])
            | st.integers(0, 30)
            | st.text("ab,.", max_size=2),
            value,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document, keys and entries alike."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in items for place in places(below, (*path, key)))]


PLACES = [path for path in places(tiny()) if path]


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=2), st.sampled_from(["full", "quick"])
)
@settings(max_examples=100, deadline=None)
def test_any_value_anywhere_is_a_spec_or_one_line_with_a_place(
    tmp_path_factory: Any, edits: list[tuple[tuple[Any, ...], Any]], profile: str
) -> None:
    study = tiny()
    for path, value in edits:
        entry: Any = study
        for key in path[:-1]:
            entry = entry[key] if isinstance(entry, dict) and key in entry else {}
        if isinstance(entry, dict):
            entry[path[-1]] = value
    folder = tmp_path_factory.getbasetemp()
    (folder / "tiny.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    (folder / "fuzz.yaml").write_text(dump(study), encoding="utf-8")
    try:
        prepare(folder / "fuzz.yaml", profile)
    except SpecError as error:
        one_line(str(error))


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_damaged_study_file_is_a_spec_or_one_line_with_a_place(tmp_path_factory: Any, seed: int, cuts: int) -> None:
    """Pieces of the file are dropped, doubled or exchanged for marks of YAML."""
    draw, text = random.Random(seed), (HERE / "tiny.yaml").read_text("utf-8")
    for _ in range(cuts):
        a = draw.randrange(len(text))
        b = min(len(text), a + draw.randrange(1, 40))
        text = text[:a] + draw.choice(["", text[a:b] * 2, "\n", ": ", "[", "{", "&a ", "*a", "!!x ", '"']) + text[b:]
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        read_study(path, name="damaged.yaml")
    except SpecError as error:
        one_line(str(error))
