"""Tables on disk: the same rows in, the same bytes out, and back; anything else on disk is the user's to know."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study import tables
from study.errors import SpecError
from study.parquet import SHARED, WHAT, described, read, write
from study.tables import TABLES, frame

VALUES: dict[pa.DataType, list[Any]] = {
    tables.TEXT: ["ä–'\"\n", "", None],
    tables.WHOLE: [2**62 + 1, 0, None],
    tables.REAL: [0.1 + 0.2, -1e-300, None],
    tables.SINGLE: [0.5, -3.0, None],
    tables.YES: [True, False, None],
}


def rows(name: str) -> list[dict[str, Any]]:
    """Three rows, an empty value in every column of the last."""
    return [{column: VALUES[type_][i] for column, type_ in TABLES[name].items()} for i in range(3)]


def folder(path: Path) -> Path:
    for name in TABLES:
        write(name, frame(name, rows(name)), path)
    return path


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Python values, every empty value None."""
    return [{k: None if v is pd.NA or v != v else v for k, v in row.items()} for row in table.to_dict("records")]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    written = frame(name, rows(name))
    found = read(folder(tmp_path))[name]
    pd.testing.assert_frame_equal(found, written)
    assert plain(found) == rows(name)


@pytest.mark.parametrize("name", TABLES)
def test_the_same_rows_are_the_same_bytes(name: str, tmp_path: Path) -> None:
    digest = write(name, frame(name, rows(name)), tmp_path)
    first = (tmp_path / f"{name}.parquet").read_bytes()
    assert digest == hashlib.sha256(first).hexdigest()
    assert write(name, frame(name, rows(name)), tmp_path) == digest
    write(name, read(folder(tmp_path))[name], tmp_path)  # once around
    assert (tmp_path / f"{name}.parquet").read_bytes() == first


def test_a_changed_value_changes_the_bytes(tmp_path: Path) -> None:
    changed = [{**row, "loss": (row["loss"] or 0.0) + 2.0**-52} for row in rows("losses")]
    assert write("losses", frame("losses", rows("losses")), tmp_path) != write(
        "losses", frame("losses", changed), tmp_path
    )


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_rows_keeps_its_columns_and_types(name: str, tmp_path: Path) -> None:
    folder(tmp_path)
    write(name, frame(name, []), tmp_path)
    found = read(tmp_path)[name]
    assert len(found) == 0
    assert list(found.columns) == list(TABLES[name])
    assert found.dtypes.equals(frame(name, rows(name)).dtypes)


def test_whole_numbers_with_gaps_stay_whole(tmp_path: Path) -> None:
    found = read(folder(tmp_path))["cells"]
    assert found["step"].iloc[0] == 2**62 + 1  # a float64 would round it


def test_a_row_may_leave_columns_out_and_must_not_invent_any() -> None:
    assert frame("losses", [{"condition": "a", "loss": 1.0}])["batch_size"].isna().all()
    with pytest.raises(AssertionError, match="unknown columns"):
        frame("losses", [{"condition": "a", "los": 1.0}])


def test_a_frame_with_other_columns_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="losses"):
        write("losses", frame("losses", rows("losses")).drop(columns="loss"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_column_says_what_it_holds() -> None:
    assert set(WHAT) == set(TABLES)
    for name, columns in TABLES.items():
        assert set(WHAT[name]) <= set(columns) <= {*WHAT[name], *SHARED}
        for field in described(name):
            told = field.metadata[b"what"].decode()
            assert told == {**SHARED, **WHAT[name]}[field.name]
            assert len(told) > 3


# -- what is not a table of ours ----------------------------------------------------------------------------------


def refused(path: Path, name: str) -> str:
    with pytest.raises(SpecError) as error:
        read(path)
    message = str(error.value)
    assert f"{name}.parquet" in message
    assert "study run" in message  # what would do
    assert "\n" not in message
    return message


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "metrics.parquet").unlink()
    assert "not there" in refused(tmp_path, "metrics")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table at all", None])
def test_a_damaged_table_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = folder(tmp_path) / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    assert "not a readable table" in refused(tmp_path, "metrics")


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    """One byte of a page's content: zstd or the encoding notices, or the values differ; never a crash."""
    path = folder(tmp_path) / "losses.parquet"
    content, told = bytearray(path.read_bytes()), []
    for position in range(4, len(content) - 8, max(1, len(content) // 60)):
        broken = bytearray(content)
        broken[position] ^= 0xFF
        path.write_bytes(broken)
        try:
            read(tmp_path)
        except SpecError as error:
            told.append(str(error))
    assert told
    assert all("losses.parquet" in message and "\n" not in message for message in told)


def test_a_folder_where_a_table_should_be_is_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "metrics.parquet").unlink()
    (tmp_path / "metrics.parquet").mkdir()
    refused(tmp_path, "metrics")


@pytest.mark.parametrize("change", ["drop", "add", "type", "order"])
def test_a_table_of_another_version_is_named(change: str, tmp_path: Path) -> None:
    path = folder(tmp_path) / "losses.parquet"
    table = pq.read_table(path)
    if change == "drop":
        table = table.drop_columns(["loss"])
    elif change == "add":
        table = table.append_column("more", pa.array([1, 2, 3]))
    elif change == "type":
        table = table.set_column(table.schema.get_field_index("loss"), "loss", table["loss"].cast(pa.float32()))
    else:
        table = table.select(table.column_names[::-1])
    pq.write_table(table, path)
    assert "not those of this version" in refused(tmp_path, "losses")
