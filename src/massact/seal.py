"""The seal of a Parquet file: a hash over its content, stored in its metadata and checked at every reading.

The hash covers the schema's name, the names, types, values and nulls of the columns, and the metadata. It does not
depend on Parquet's encoding or compression.
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
    """Hash over a table, its schema's name and its metadata."""
    columns = [[field.name, str(field.type)] for field in table.schema]
    head = json.dumps([schema, table.num_rows, columns]).encode()
    digest = hashlib.sha256(len(head).to_bytes(8, "little") + head)
    digest.update(hashlib.sha256(metadata).digest())
    for column in table.columns:
        for part in _canonical(column):
            digest.update(part)
    return digest.hexdigest()


def sealed(table: pa.Table, schema: str, metadata: bytes) -> pa.Table:
    """The table with its metadata and its seal."""
    seal = {"schema": schema, "sha256": content_sha256(table, schema, metadata)}
    return table.replace_schema_metadata({METADATA_KEY: metadata, SEAL_KEY: json.dumps(seal)})


def verified(path: Path, remedy: str, schema: str | None = None) -> pa.Table:
    """The table in a file whose seal is valid, and names `schema` if that is given.

    Raises
    ------
    MissingInputError
        When the file does not exist or cannot be read.
    TableError
        When it is damaged, has no seal, or has another schema.
    """
    table = read_unsealed(path, remedy)
    metadata = table.schema.metadata or {}
    sealing = f"python -c \"from massact.tables import seal; seal('{path}')\""
    if SEAL_KEY not in metadata:
        writer = "pandas or another program" if b"pandas" in metadata else "another program, or an older massact,"
        raise TableError(
            f"{path} has no seal: {writer} wrote it, so its numbers cannot be verified",
            f"{remedy}; or, if you trust it, seal it with: {sealing}",
        )
    name, stated = _stated(metadata[SEAL_KEY])
    if stated is None or stated != content_sha256(table, name, metadata.get(METADATA_KEY, b"{}")):
        raise TableError(
            f"{path} does not match its seal: it is damaged, or was edited",
            f"{remedy}; or, if you edited it, seal it with: {sealing}",
        )
    if schema is not None and name != schema:
        raise TableError(f"{path} is a table of '{name}', not of '{schema}'", remedy)
    return table


def read_unsealed(path: Path, remedy: str) -> pa.Table:
    """The table in a file. Checks page checksums if there are any, but not the seal.

    Raises
    ------
    MissingInputError, TableError
        As in `verified`, except for the seal.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_file():
            raise MissingInputError(f"{path} does not exist", remedy)
        file = pa.OSFile(str(path), "rb")
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise MissingInputError(f"{path} cannot be read ({why})", "make it readable to this user") from None
    with file:
        pointer = file.read(64).startswith(b"version https://git-lfs")
        file.seek(0)
        if pointer:
            raise TableError(f"{path} is a Git LFS pointer, not the file itself", "fetch it with: git lfs pull")
        try:
            return pq.ParquetFile(file, page_checksum_verification=True).read()
        except Exception as error:  # Arrow raises many types for damaged files
            why = " ".join(str(error).split())[:200]
            raise TableError(f"{path} is not a complete Parquet file ({why})", remedy) from None


def _stated(seal: bytes) -> tuple[str, str | None]:
    """Schema and hash in a seal; the hash is None if the seal is damaged."""
    try:
        content: Any = json.loads(seal)
        return str(content["schema"]), str(content["sha256"])
    except (ValueError, KeyError, TypeError):
        return "", None


def _canonical(column: pa.ChunkedArray) -> list[Any]:
    """A column as bytes: the nulls, then little-endian values with zeros for nulls, or lengths and text."""
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
