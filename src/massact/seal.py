"""The seal of a Parquet file: a hash over all it holds, in its own metadata, checked whenever the file is read.

The hash covers the schema's name, the names, types and values of the columns (with what is null among them) and the
metadata. It does not depend on how Parquet encodes or compresses them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.errors import MissingInputError, TableError

if TYPE_CHECKING:  # pyarrow takes half a second
    import pyarrow as pa

METADATA_KEY = b"massact"
SEAL_KEY = b"massact.seal"


def content_sha256(table: pa.Table, schema: str, metadata: bytes) -> str:
    """Hash over a table as a schema of that name, and over the metadata that goes with it."""
    columns = [[field.name, str(field.type)] for field in table.schema]
    head = json.dumps([schema, table.num_rows, columns]).encode()
    found = hashlib.sha256(len(head).to_bytes(8, "little") + head)
    found.update(hashlib.sha256(metadata).digest())
    for column in table.columns:
        for part in _canonical(column):
            found.update(part)
    return found.hexdigest()


def sealed(table: pa.Table, schema: str, metadata: bytes) -> pa.Table:
    """The table with its metadata and its seal."""
    seal = {"schema": schema, "sha256": content_sha256(table, schema, metadata)}
    return table.replace_schema_metadata({METADATA_KEY: metadata, SEAL_KEY: json.dumps(seal)})


def verified(path: Path, remedy: str, schema: str | None = None) -> pa.Table:
    """A file's table, when its seal holds (and names this schema, where one is given).

    Raises
    ------
    MissingInputError
        When it is not there or may not be read.
    TableError
        When it is damaged, has no seal, or is a table of another schema.
    """
    table = read_unsealed(path, remedy)
    said = table.schema.metadata or {}
    as_it_is = f"python -c \"from massact.tables import seal; seal('{path}')\""
    if SEAL_KEY not in said:
        writer = "pandas or another program" if b"pandas" in said else "another program, or an older massact,"
        raise TableError(
            f"{path} has no seal: {writer} wrote it, and nothing says whether its numbers are whole",
            f"{remedy}; or, if it is right as it is, seal it with: {as_it_is}",
        )
    name, stated = _stated(said[SEAL_KEY])
    if stated is None or stated != content_sha256(table, name, said.get(METADATA_KEY, b"{}")):
        raise TableError(
            f"{path} does not hold what was written into it: it is damaged, or was edited",
            f"{remedy}; or, if you edited it, seal it with: {as_it_is}",
        )
    if schema is not None and name != schema:
        raise TableError(f"{path} is a table of '{name}', not of '{schema}'", remedy)
    return table


def read_unsealed(path: Path, remedy: str) -> pa.Table:
    """A file's table as it is; page checksums are checked where there are some, the seal is not.

    Raises
    ------
    MissingInputError, TableError
        As `verified`, but for the seal.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            raise MissingInputError(f"{path} is not there", remedy)
        file = pa.OSFile(str(path), "rb")
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise MissingInputError(f"{path} cannot be read ({why})", "make it readable to this user") from None
    with file:
        pointer = file.read(64).startswith(b"version https://git-lfs")
        file.seek(0)
        if pointer:
            raise TableError(f"{path} is a Git LFS pointer, not the file itself", "bring the file: git lfs pull")
        try:
            return pq.ParquetFile(file, page_checksum_verification=True).read()
        except Exception as error:  # damaged files make Arrow raise nearly anything
            why = " ".join(str(error).split())[:200]
            raise TableError(f"{path} is not a whole Parquet file ({why})", remedy) from None


def _stated(seal: bytes) -> tuple[str, str | None]:
    """Schema and hash that a seal names; None for the hash of a damaged one."""
    try:
        said: Any = json.loads(seal)
        return str(said["schema"]), str(said["sha256"])
    except (ValueError, KeyError, TypeError):
        return "", None


def _canonical(column: pa.ChunkedArray) -> list[Any]:
    """A column as bytes: what is null, then little-endian values with zeros for nulls, or lengths and text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    parts: list[Any] = [column.null_count.to_bytes(8, "little")]
    if column.null_count:
        parts.append(np.packbits(column.is_valid().to_numpy()))
        column = pc.fill_null(column, pa.scalar("" if pa.types.is_string(kind) else 0).cast(kind))
    if not pa.types.is_string(kind):
        values = column.to_numpy()
        return [*parts, np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))]
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        if not len(chunk) or offsets is None:
            continue
        at = np.frombuffer(offsets, dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        parts += [np.diff(at).astype("<i4"), memoryview(data)[at[0] : at[-1]] if data is not None else b""]
    return parts
