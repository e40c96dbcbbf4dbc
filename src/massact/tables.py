"""Tables with a declared schema: validated before they are written and before they are used."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.disk import refused
from massact.errors import MissingInputError, TableError

if TYPE_CHECKING:  # schemas are read by commands that must answer at once; pandas and pyarrow take a second
    import pandas as pd
    import pyarrow as pa

METADATA_KEY = b"massact"


@dataclass(frozen=True)
class Column:
    """One column: type, meaning with unit, and whether NaN is a value it can have.

    Types are string, bool, int32, int64, float32 and float64.
    """

    dtype: str
    meaning: str
    nan: bool = False


@dataclass(frozen=True)
class Schema:
    """A table's name, its columns in order, and the columns that together name a row once."""

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]

    def validate(self, frame: pd.DataFrame, where: str = "") -> pd.DataFrame:
        """The frame in declared column order and types.

        Raises
        ------
        TableError
            Columns missing or unknown, a type that does not convert, NaN where none may be, a key twice.
        """
        import pandas as pd

        place = f"{where or self.name} table"
        missing = [name for name in self.columns if name not in frame.columns]
        unknown = [name for name in frame.columns if name not in self.columns]
        if missing or unknown:
            raise TableError(
                f"{place}: columns missing {missing or 'none'}, not in schema '{self.name}' {unknown or 'none'}",
                "make the table again with this version of massact",
            )
        typed = {name: _cast(frame[name], column, f"{place}, column {name}") for name, column in self.columns.items()}
        out = pd.DataFrame(typed).reset_index(drop=True)
        repeated = out.duplicated(list(self.key))
        if repeated.any():
            row = out.loc[repeated.idxmax(), list(self.key)].to_dict()
            raise TableError(f"{place}: more than one row for {row}", "make the table again")
        return out

    def arrow(self) -> pa.Schema:
        """The schema as Arrow's."""
        import pyarrow as pa

        return pa.schema([(name, pa.type_for_alias(column.dtype)) for name, column in self.columns.items()])


def write_table(frame: pd.DataFrame, path: Path, schema: Schema, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a validated Parquet file whole or not at all; the same content gives the same bytes.

    `metadata` (JSON-serialisable) goes into the file's own metadata and is read back by `read_metadata`.

    Raises
    ------
    TableError
        As `Schema.validate`.
    StorageError
        When the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(schema.validate(frame, str(path)), schema=schema.arrow(), preserve_index=False)
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(dict(metadata or {}), sort_keys=True)})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, partial, compression="zstd", version="2.6")
        partial.replace(path)
    except OSError as error:
        raise refused(error, path.parent, table.nbytes, "write elsewhere (paths.*)") from None
    finally:
        partial.unlink(missing_ok=True)


def read_table(path: Path, schema: Schema, *, remedy: str = "make it with: dvc repro") -> pd.DataFrame:
    """Read and validate a Parquet file.

    Raises
    ------
    MissingInputError
        When it is not there; `remedy` is the command that makes it.
    TableError
        When it is not Parquet or not of this schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingInputError(f"{path} is not there", remedy)
    try:
        frame = pq.read_table(path).to_pandas()
    except pa.ArrowException as error:
        raise TableError(f"{path} is not a Parquet file ({error})", remedy) from None
    return schema.validate(frame, str(path))


def read_metadata(path: Path) -> dict[str, Any]:
    """What `write_table` was given as metadata."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingInputError(f"{path} is not there", "make it with: dvc repro")
    raw = (pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"{}")
    return json.loads(raw)


def _cast(values: Any, column: Column, where: str) -> Any:
    import numpy as np

    if column.dtype == "string":
        if values.isna().any():
            raise TableError(f"{where}: empty values", "make the table again")
        return values.astype(str).astype(object)
    try:
        cast = values.to_numpy().astype(column.dtype)
    except (TypeError, ValueError) as error:
        raise TableError(f"{where}: not {column.dtype} ({error})", "make the table again") from None
    if column.dtype.startswith("int") and not np.array_equal(cast, values.to_numpy()):
        raise TableError(f"{where}: not whole numbers", "make the table again")
    if column.dtype.startswith("float") and not column.nan and not np.isfinite(cast).all():
        raise TableError(f"{where}: NaN or infinite values", "make the table again")
    return cast
