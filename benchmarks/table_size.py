"""Time and memory of reading and aggregating a records table of many rows.

    python benchmarks/table_size.py --rows 2000000 10000000

Each size runs in a process of its own; ten million rows take a quarter of a GB on disk and 5 GB of memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS, LAYERS, SEQUENCES = 154, 12, 10
ROWS_A_MODEL = STEPS * LAYERS * SEQUENCES


def records(rows: int):
    """A table of whole models of 12 layers, 154 steps and 10 sequences; at least this many rows."""
    import numpy as np
    import pandas as pd

    from massact.trajectories import RECORDS

    models = -(-rows // ROWS_A_MODEL)
    row = np.arange(models * ROWS_A_MODEL)
    within = row % ROWS_A_MODEL
    step, cell = np.divmod(within, LAYERS * SEQUENCES)
    layer, sequence = np.divmod(cell, SEQUENCES)
    names = np.array([f"model-{number:04d}" for number in range(models)], dtype=object)
    median = np.random.default_rng(0).lognormal(size=row.size)
    columns = {
        "family": np.full(row.size, "many", dtype=object), "recipe": np.full(row.size, "many", dtype=object),
        "model": names[row // ROWS_A_MODEL], "step": step * 1000, "tokens": step * 2_097_152_000, "layer": layer,
        "sequence": sequence, "probe_length": 2048, "first_token": -1, "median": median,
        "top1": 40 * median, "top2": 30 * median, "top3": 20 * median,
    }  # fmt: skip
    return pd.DataFrame({name: columns.get(name, 0) for name in RECORDS.columns}, index=pd.RangeIndex(row.size))


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def read(path: Path) -> str:
    from massact.tables import read_table
    from massact.trajectories import RECORDS, aggregate

    began = time.process_time()
    frame = read_table(path, RECORDS)
    reading, of_reading = time.process_time() - began, peak()
    aggregate(frame)
    return (
        f"{len(frame):,} rows, {path.stat().st_size / 1e6:.0f} MB: read in {reading:.1f} s of the processor, "
        f"peak memory {of_reading:.1f} GB; aggregated in {time.process_time() - began - reading:.1f} s, "
        f"peak {peak():.1f} GB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000, 10_000_000])
    parser.add_argument("--read", type=Path, help="read this table in this process")
    given = parser.parse_args()
    if given.read is not None:
        sys.stdout.write(read(given.read) + "\n")
    else:
        for count in given.rows:
            with tempfile.TemporaryDirectory() as folder:
                from massact.tables import write_table
                from massact.trajectories import RECORDS

                write_table(records(count), Path(folder) / "records.parquet", RECORDS)
                subprocess.run([sys.executable, __file__, "--read", str(Path(folder) / "records.parquet")], check=True)
