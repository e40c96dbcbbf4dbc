import numpy as np
import pandas as pd
import pytest

from massact.errors import MissingInputError, TableError
from massact.tables import Column, Schema, read_metadata, read_table, write_table

SCHEMA = Schema(
    "t",
    {"name": Column("string", "n"), "n": Column("int32", "count"), "x": Column("float64", "x", nan=True)},
    key=("name",),
)
GOOD = pd.DataFrame({"name": ["a", "b"], "n": [1, 2], "x": [0.5, np.nan]})


def test_round_trip_keeps_values_types_and_metadata(tmp_path):
    path = tmp_path / "deep" / "t.parquet"
    write_table(GOOD, path, SCHEMA, {"weights": "abc"})
    back = read_table(path, SCHEMA)
    assert back["n"].dtype == np.int32
    assert back["name"].tolist() == ["a", "b"]
    assert np.isnan(back["x"][1])
    assert read_metadata(path) == {"weights": "abc"}


def test_same_content_gives_same_bytes_and_leaves_nothing_else(tmp_path):
    for name in ("one", "two"):
        write_table(GOOD, tmp_path / name, SCHEMA, {"b": 1, "a": 2})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (GOOD.drop(columns="n"), "missing"),
        (GOOD.assign(extra=1), "extra"),
        (GOOD.assign(name="a"), "more than one row"),
        (GOOD.assign(n=[1.5, 2]), "whole numbers"),
        (GOOD.assign(n=["x", "y"]), "int32"),
        (GOOD.assign(name=[None, "b"]), "empty"),
    ],
)
def test_what_is_not_of_the_schema_is_refused(frame, words, tmp_path):
    with pytest.raises(TableError, match=words):
        write_table(frame, tmp_path / "t", SCHEMA)
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_files_say_so(tmp_path):
    with pytest.raises(MissingInputError, match="dvc repro"):
        read_table(tmp_path / "none.parquet", SCHEMA)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(TableError, match=r"bad\.parquet"):
        read_table(tmp_path / "bad.parquet", SCHEMA)
