import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import MissingInputError, StorageError, TableError
from massact.tables import Column, Schema, read_metadata, read_table, seal, write_table
from massact.trajectories import RECORDS, TRAJECTORIES, aggregate
from tests.users import unprivileged

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


def written(tmp_path, metadata=None):
    path = tmp_path / "t.parquet"
    write_table(GOOD, path, SCHEMA, metadata or {"weights": "abc"})
    return path


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    path = written(tmp_path)
    content, whole = path.read_bytes(), read_table(path, SCHEMA)
    accepted = 0
    for bit in range(0, 8 * len(content), 29):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            same = read_table(path, SCHEMA).equals(whole) and read_metadata(path) == {"weights": "abc"}
        except TableError as error:
            assert "\n" not in str(error)
        else:
            accepted += not same
    assert accepted == 0


def rewritten(path, frame=None, **metadata):
    """The file as another program writes it: columns of `frame`, and metadata with these keys replaced."""
    table = pq.read_table(path)
    metadata_bytes = {
        **table.schema.metadata,
        **{name.replace("_", ".").encode(): value for name, value in metadata.items()},
    }
    if frame is not None:
        table = pa.Table.from_pandas(frame, schema=table.schema.remove_metadata(), preserve_index=False)
    pq.write_table(table.replace_schema_metadata(metadata_bytes), path)


def test_edited_values_and_swapped_metadata_are_refused(tmp_path):
    path = written(tmp_path)
    rewritten(path, GOOD.assign(n=[1, 3]))
    with pytest.raises(TableError, match=r"damaged, or was edited.*seal\("):
        read_table(path, SCHEMA)
    path = written(tmp_path)
    rewritten(path, massact=b'{"weights": "other"}')
    for read in (lambda: read_table(path, SCHEMA), lambda: read_metadata(path)):
        with pytest.raises(TableError, match="damaged, or was edited"):
            read()
    path = written(tmp_path)
    rewritten(path, massact_seal=b"[]")
    with pytest.raises(TableError, match="damaged, or was edited"):
        read_metadata(path)


def test_a_table_of_another_schema_with_the_same_columns_is_refused(tmp_path):
    path = written(tmp_path)
    with pytest.raises(TableError, match="is a table of 't', not of 'u'"):
        read_table(path, Schema("u", SCHEMA.columns, SCHEMA.key))


def test_another_encoding_of_the_same_content_keeps_its_seal(tmp_path):
    path = written(tmp_path)
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False, row_group_size=1)
    assert read_metadata(path) == {"weights": "abc"}


def test_what_pandas_wrote_again_is_named_and_can_be_sealed(tmp_path):
    path = written(tmp_path)
    pd.read_parquet(path).iloc[[1, 0]].to_parquet(path)  # with an index column, without metadata
    with pytest.raises(TableError, match=r"has no seal: pandas.*massact\.tables import seal; seal\('.*t\.parquet'\)"):
        read_table(path, SCHEMA)
    seal(path, SCHEMA)
    assert read_table(path, SCHEMA)["name"].tolist() == ["b", "a"]
    with pytest.raises(TableError, match=r"has no architecture.*seal\("):
        read_metadata(path, ["architecture"])
    seal(path, SCHEMA, {"architecture": {}})
    assert read_metadata(path, ["architecture"]) == {"architecture": {}}


def test_sealing_names_what_it_lacks(tmp_path):
    path = written(tmp_path)
    rewritten(path, massact=b"not JSON")
    with pytest.raises(TableError, match="not a JSON object"):
        seal(path, SCHEMA)
    with pytest.raises(TableError, match="nearest to schema"):
        seal(path, metadata={})
    with pytest.raises(MissingInputError, match="does not exist"):
        seal(tmp_path / "none.parquet")


def test_a_schema_is_found_by_its_columns(tmp_path):
    path = tmp_path / "r.parquet"
    records(2).to_parquet(path)
    seal(path)
    assert len(read_table(path, RECORDS)) == 2


def test_a_pointer_and_an_unreadable_file_are_named(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(TableError, match="Git LFS pointer"):
        read_table(path, SCHEMA)
    path = written(tmp_path)
    path.chmod(0)
    with unprivileged(), pytest.raises(MissingInputError, match=r"cannot be read \(Permission denied\)"):
        read_table(path, SCHEMA)


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written to"):
        write_table(GOOD, tmp_path / "file" / "t.parquet", SCHEMA)


NULLABLE = Schema(
    "null",
    {"n": Column("int64", "n", null=True), "yes": Column("bool", "yes", null=True), "k": Column("int32", "key")},
    key=("k",),
)


def test_unknown_whole_numbers_are_null(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"n": [2**60 + 1, None], "yes": [None, False], "k": [0, 1]}, dtype=object)
    write_table(frame, path, NULLABLE)
    back = read_table(path, NULLABLE)
    assert back["n"].dtype == "Int64"
    assert back["n"][0] == 2**60 + 1
    assert back["n"].isna().tolist() == [False, True]
    assert back["yes"].dtype == "boolean"
    write_table(frame.assign(n=[1, 2], yes=True), path, NULLABLE)
    assert read_table(path, NULLABLE).dtypes.astype(str).tolist() == ["int64", "bool", "int32"]
    with pytest.raises(TableError, match="whole numbers"):
        write_table(frame.assign(n=[1.5, None]), path, NULLABLE)
    with pytest.raises(TableError, match="true or false"):
        write_table(frame.assign(yes=["no", None]), path, NULLABLE)


def records(steps=3, layers=1, sequences=1, **change):
    index = pd.MultiIndex.from_product([range(steps), range(layers), range(sequences)])
    frame = pd.DataFrame(index.to_list(), columns=["step", "layer", "sequence"])
    frame = frame.assign(
        family="f", recipe="r", model="m", seed=0, tokens=frame["step"], probe_length=8, first_token=-1,
        top1=3.0, top2=2.0, top3=2.0, median=1.0,
        **{f"{place}{rank}": rank for place in ("token", "dimension") for rank in (1, 2, 3)},
    )  # fmt: skip
    for name, value in change.items():
        frame[name] = frame[name].astype(type(value))
        frame.loc[len(frame) - 1, name] = value
    return frame


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"median": 0.0}, "median is positive"),
        ({"median": -1.0}, "median is positive"),
        ({"top1": -3.0}, "top1 >= top2"),
        ({"top1": 0.5}, "top1 >= top2"),
        ({"top2": 4.0}, "top1 >= top2"),
        ({"top3": 0.5}, "top3 >= median"),
        ({"token2": 8}, "within the probe"),
        ({"token2": -2}, "token2 is -1 or more"),
        ({"dimension3": 16}, "within the model's width"),
        ({"layer": 7}, "layers are those of the model"),
        ({"layer": -1}, "layer is 0 or more"),
        ({"step": -1}, "step is 0 or more"),
        ({"tokens": -2}, "tokens is 0 or more"),
        ({"sequence": 5}, "same layers, sequences and probe"),
        ({"probe_length": 9}, "same layers, sequences and probe"),
    ],
)
def test_impossible_values_are_refused_with_their_row(change, words):
    metadata = {"architecture": {"d_model": 16, "n_layers": 7}}
    with pytest.raises(TableError, match=words) as caught:
        RECORDS.validate(records(4, 2, 2, **change), "t", metadata)
    row = {"step": 3, "layer": 1, "sequence": 1, **change} if "same" not in words else {"step": 3}
    assert all(f"{name} {row[name]}" in str(caught.value) for name in ("step", "layer", "sequence") if name in row)
    assert "rows that break this rule" in str(caught.value)


def test_a_layer_or_a_sequence_missing_at_one_step_is_refused():
    whole = records(4, 3, 2)
    assert len(RECORDS.validate(whole)) == 24
    for lacking in (whole["layer"] == 1, whole["sequence"] == 0):
        with pytest.raises(TableError, match="step 2"):
            RECORDS.validate(whole[~(lacking & (whole["step"] == 2))])
    mixed = whole.sample(frac=1, random_state=0)
    assert len(RECORDS.validate(mixed)) == 24
    other = whole.assign(model="n").query("layer < 2")  # another model may have other layers
    assert len(RECORDS.validate(pd.concat([whole, other]))) == 24 + 16
    metadata = {"members": [{"model": "n", "architecture": {"n_layers": 1, "d_model": 99}}]}
    with pytest.raises(TableError, match=r"layers are those of the model, but not at .* model n"):
        RECORDS.validate(pd.concat([whole, other]), "t", metadata)


def test_an_impossible_trajectory_or_architecture_is_refused():
    whole = aggregate(RECORDS.validate(records(2, 1, 2)))
    for change, words in (({"value": -1.0}, "positive"), ({"n_sequences": 0}, "n_sequences"), ({"se": -1.0}, "se is")):
        with pytest.raises(TableError, match=words):
            TRAJECTORIES.validate(whole.assign(**change))
    with pytest.raises(TableError, match="a ratio is 1 or more"):
        TRAJECTORIES.validate(whole.assign(value=0.5))


@given(
    st.lists(
        st.tuples(
            st.text(max_size=5).filter(lambda s: "\x00" not in s),
            st.integers(-(2**31), 2**31 - 1),
            st.floats(allow_infinity=False, width=32),
        ),
        unique_by=lambda row: row[0],
        max_size=20,
    )
)
def test_any_table_comes_back_as_it_was(rows):
    frame = pd.DataFrame(rows, columns=["name", "n", "x"]).astype({"name": object, "n": "int32", "x": float})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_table(frame, path, SCHEMA)
        pd.testing.assert_frame_equal(read_table(path, SCHEMA), frame)
