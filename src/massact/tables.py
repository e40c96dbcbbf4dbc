"""Tables with a declared schema: validated before they are written and before they are used.

A table that another program wrote, or that you edited, has no seal that holds; `seal` gives it one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.disk import replacing
from massact.errors import TableError
from massact.seal import METADATA_KEY, read_unsealed, sealed, verified

if TYPE_CHECKING:  # schemas are read by commands that must answer at once; pandas and pyarrow take a second
    import pandas as pd
    import pyarrow as pa

_NULLABLE = {"int32": "Int32", "int64": "Int64", "bool": "boolean"}
_AGAIN = "create it with: dvc repro"


@dataclass(frozen=True)
class Column:
    """One column: type, meaning with unit, and whether it can hold NaN or null.

    Types are string, bool, int32, int64, float32 and float64. `nan` is for floats. `null` is for whole numbers
    and bools that may be unknown: such a column has pandas' nullable type if a value is null, otherwise the plain type.
    An unknown string is empty.
    """

    dtype: str
    meaning: str
    nan: bool = False
    null: bool = False


@dataclass(frozen=True)
class Rule:
    """A condition on every row: `holds(frame, metadata)` is true or null for each valid row.

    A message shows `columns` of the row that breaks the rule; `meaning` states the condition. The metadata is the
    table's own, empty if it has none.
    """

    columns: tuple[str, ...]
    holds: Callable[[pd.DataFrame, Mapping[str, Any]], Any]
    meaning: str


@dataclass(frozen=True)
class Schema:
    """A table's name, its columns in order, the columns that together name a row once, and rules for its values."""

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = ()

    def validate(self, frame: pd.DataFrame, where: str = "", metadata: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The frame in declared column order and types.

        Raises
        ------
        TableError
            Columns missing or unknown, a type that does not convert, NaN or null where none may be, a key twice, a
            row that breaks a rule.
        """
        import pandas as pd

        place = f"{where or self.name} table"
        missing = [name for name in self.columns if name not in frame.columns]
        unknown = [name for name in frame.columns if name not in self.columns]
        if missing or unknown:
            raise TableError(
                f"{place}: columns missing {missing or 'none'}, not in schema '{self.name}' {unknown or 'none'}",
                "recreate the table with this version of massact",
            )
        typed = {name: _cast(frame[name], column, f"{place}, column {name}") for name, column in self.columns.items()}
        out = pd.DataFrame(typed).reset_index(drop=True)
        repeated = out.duplicated(list(self.key))
        if repeated.any():
            raise TableError(f"{place}: more than one row for {self._named(out, repeated)}", "recreate the table")
        for rule in self.rules:
            self._hold(rule, out, metadata or {}, place)
        return out

    def arrow(self) -> pa.Schema:
        """The schema as Arrow's."""
        import pyarrow as pa

        return pa.schema([(name, pa.type_for_alias(column.dtype)) for name, column in self.columns.items()])

    def _hold(self, rule: Rule, frame: pd.DataFrame, metadata: Mapping[str, Any], place: str) -> None:
        import pandas as pd

        valid_rows = pd.Series(rule.holds(frame, metadata))
        broken = ~(valid_rows if valid_rows.dtype == bool else valid_rows.fillna(True).astype(bool))
        if not broken.any():
            return
        row = frame.iloc[int(broken.to_numpy().argmax())]
        shown = ", ".join(f"{name} {row[name]:g}" for name in rule.columns)
        raise TableError(
            f"{place}: {rule.meaning}, but not at {self._named(frame, broken)}{f' ({shown})' if shown else ''}; "
            f"rows that break this rule: {int(broken.sum())}",
            "recreate the table",
        )

    def _named(self, frame: pd.DataFrame, rows: pd.Series) -> str:
        """The first of these rows, by the schema's key."""
        row = frame.iloc[int(rows.to_numpy().argmax())]
        return ", ".join(f"{name} {row[name]}" for name in self.key)


def write_table(frame: pd.DataFrame, path: Path, schema: Schema, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a validated, sealed Parquet file atomically. The same content gives the same bytes.

    `metadata` (JSON-serialisable) goes into the file's own metadata and is read back by `read_metadata`. The seal
    (`massact.seal`) is a hash over columns and metadata; a file whose seal does not hold is never read. Every page
    carries its checksum too.

    Raises
    ------
    TableError
        As `Schema.validate`.
    StorageError
        When the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stated = dict(metadata or {})
    valid = schema.validate(frame, str(path), stated)
    table = pa.Table.from_pandas(valid, schema=schema.arrow(), preserve_index=False)
    table = sealed(table, schema.name, json.dumps(stated, sort_keys=True).encode())
    with replacing(path, table.nbytes) as partial:
        pq.write_table(table, partial, compression="zstd", version="2.6", write_page_checksum=True)


def read_table(path: Path, schema: Schema, *, remedy: str = _AGAIN) -> pd.DataFrame:
    """Read a Parquet file, and hold it to its seal and its schema.

    Raises
    ------
    MissingInputError
        When it does not exist or may not be read; `remedy` is the command that creates it.
    TableError
        When it is not Parquet, damaged, without a seal (`seal` gives it one), or not of this schema.
    """
    table = verified(path, remedy, schema.name)
    metadata = _metadata(table, path)
    return schema.validate(_frame(table), str(path), metadata)


def read_metadata(path: Path, needed: Sequence[str] = (), *, remedy: str = _AGAIN) -> dict[str, Any]:
    """What `write_table` was given as metadata, of a file whose seal holds.

    Raises
    ------
    MissingInputError, TableError
        As `read_table`; also when the metadata has none of a `needed` name.
    """
    stated = _metadata(verified(path, remedy), path)
    lacking = [name for name in needed if name not in stated]
    if lacking:
        raise TableError(
            f"{path}: its metadata has no {', '.join(lacking)}",
            f"{remedy}; or give it what the original file says: "
            f"massact.tables.seal('{path}', metadata=massact.tables.read_metadata(ORIGINAL))",
        )
    return stated


def seal(path: Path | str, schema: Schema | None = None, metadata: Mapping[str, Any] | None = None) -> None:
    """Seal a table as it is: one that pandas has written again, or that you edited or created.

    The file is validated, then written in place with page checksums and a seal. An index column that pandas added is
    removed.

    Parameters
    ----------
    schema
        Of the table; None finds it by the columns, among records, trajectories, architectures and fits.
    metadata
        Of the table; None keeps what the file has. pandas drops it: pass `read_metadata(original)`, for fits need at
        least its `architecture`.

    Raises
    ------
    MissingInputError, TableError
        As `read_table`; also when no schema has these columns, or the file's metadata is not JSON.
    """
    path = Path(path)
    table = read_unsealed(path, _AGAIN)
    frame = _frame(table)
    indices = [name for name in frame.columns if re.fullmatch(r"__index_level_\d+__|Unnamed: \d+", str(name))]
    frame = frame.drop(columns=indices)
    stated = _metadata(table, path) if metadata is None else metadata
    write_table(frame, path, schema or _schema_of(frame, path), stated)


def _frame(table: pa.Table) -> pd.DataFrame:
    """A table for pandas: whole numbers with nulls stay whole, equal texts are one object (compared at once)."""
    import pandas as pd
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type) and not column.null_count:
            coded = column.combine_chunks().dictionary_encode()
            values = coded.dictionary.to_numpy(zero_copy_only=False)
            columns[name] = pd.Series(values[coded.indices.to_numpy()], dtype=object)
        else:
            columns[name] = column.to_pandas(integer_object_nulls=True)
    return pd.DataFrame(columns)


def _schema_of(frame: pd.DataFrame, path: Path) -> Schema:
    """The known schema with these columns."""
    from massact.fit.forms import FORMS
    from massact.fit.schemas import fits_schema
    from massact.trajectories.schemas import ARCHITECTURES, RECORDS, TRAJECTORIES

    known = [RECORDS, TRAJECTORIES, ARCHITECTURES, *(fits_schema(form) for form in FORMS)]
    here = set(frame.columns)
    for schema in known:
        if here == set(schema.columns):
            return schema
    nearest = min(known, key=lambda schema: len(here ^ set(schema.columns)))
    lacking, more = sorted(set(nearest.columns) - here), sorted(here - set(nearest.columns))
    raise TableError(
        f"{path} is nearest to schema '{nearest.name}': it lacks {lacking or 'nothing'}, adds {more or 'nothing'}",
        "correct its columns, or name its schema: massact.tables.seal(path, schema)",
    )


def _metadata(table: pa.Table, path: Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(METADATA_KEY, b"{}")
    try:
        stated = json.loads(raw)
    except ValueError:
        stated = None
    if not isinstance(stated, dict):
        raise TableError(
            f"{path}: its massact metadata is not a JSON object",
            f"give it what the original file says: massact.tables.seal('{path}', metadata={{...}})",
        )
    return stated


def _cast(values: Any, column: Column, where: str) -> Any:
    import numpy as np
    import pandas as pd

    again = "recreate the table"
    if column.dtype == "string":
        if values.isna().any():
            raise TableError(f"{where}: empty values", again)
        text = pd.api.types.infer_dtype(values, skipna=False) == "string"
        return (values if text else values.astype(str)).astype(object)
    kind: Any = column.dtype
    empty = values.isna() if column.null else None
    if empty is not None and empty.any():
        whole = _cast(values[~empty].infer_objects(), replace(column, null=False), where)
        out = pd.Series(pd.NA, index=values.index, dtype=_NULLABLE[kind])
        out[~empty] = whole
        return out.array
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.to_numpy().astype(kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise TableError(f"{where}: not {kind} ({error})", again) from None
    if not kind.startswith("float") and not np.array_equal(cast, values.to_numpy()):
        raise TableError(f"{where}: not {'true or false' if kind == 'bool' else 'whole numbers'}", again)
    if kind.startswith("float") and not column.nan and not np.isfinite(cast).all():
        raise TableError(f"{where}: NaN or infinite values", again)
    return cast
