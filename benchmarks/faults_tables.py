"""How many damaged tables are accepted: single flipped bits, cut files, metadata of another table.

A trial is held when the table is refused with one line, or read with exactly the values and metadata written.

    python benchmarks/faults_tables.py TABLE.parquet ... --flips 1500
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from massact.errors import MassactError
from massact.fit.forms import FORMS
from massact.fit.schemas import fits_schema
from massact.seal import SEAL_KEY
from massact.tables import METADATA_KEY, Schema, read_metadata, read_table
from massact.trajectories import RECORDS


def schema_of(path: Path) -> Schema:
    """Records, or fits of the form whose columns these are."""
    names = set(pq.read_schema(path).names)
    known = [RECORDS, *(fits_schema(form) for form in FORMS)]
    return next(schema for schema in known if set(schema.columns) == names)


def flipped(content: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """The file with one bit changed, at places drawn over the whole file."""
    for bit in rng.choice(8 * len(content), size=min(count, 8 * len(content)), replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << int(bit) % 8
        yield bytes(damaged)


def cut(content: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """The file without its end."""
    for length in rng.choice(len(content), size=min(count, len(content)), replace=False):
        yield content[: int(length)]


def swapped(path: Path, others: list[Path], folder: Path) -> Iterator[bytes]:
    """The table with the metadata of another, with and without that one's seal."""
    table, target = pq.read_table(path), folder / "swapped.parquet"
    own = table.schema.metadata
    for other in others:
        said = pq.read_schema(other).metadata
        if said == own:
            continue
        for keys in ((METADATA_KEY,), (METADATA_KEY, SEAL_KEY), (SEAL_KEY,)):
            pq.write_table(table.replace_schema_metadata({**own, **{key: said[key] for key in keys}}), target)
            yield target.read_bytes()


def held(trials: Iterator[bytes], schema: Schema, whole: tuple, folder: Path) -> tuple[int, int, int]:
    """Numbers of cases, of those that passed, and of those that were refused."""
    path = folder / "trial.parquet"
    tried = good = refused = 0
    for content in trials:
        path.write_bytes(content)
        tried += 1
        try:
            frame, metadata = read_table(path, schema), read_metadata(path)
        except MassactError as error:
            refused += 1
            good += "\n" not in str(error)
        else:
            good += bool(frame.equals(whole[0]) and metadata == whole[1])
    return tried, good, refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--flips", type=int, default=1500)
    parser.add_argument("--cuts", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for path in arguments.tables:
            schema, content = schema_of(path), path.read_bytes()
            whole = read_table(path, schema), read_metadata(path)
            kinds = {
                "bit flips": flipped(content, arguments.flips, rng),
                "cut files": cut(content, arguments.cuts, rng),
                "swapped metadata": swapped(path, arguments.tables, folder),
            }
            for kind, trials in kinds.items():
                tried, good, refused = held(trials, schema, whole, folder)
                print(f"{path.name:32} {kind:18} tried {tried:5d}  held {good:5d}  (refused {refused})", flush=True)


if __name__ == "__main__":
    main()
