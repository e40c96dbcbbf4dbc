"""Time, memory and size of a report of many models, made of the pipeline's own tables under other names.

    python benchmarks/report_speed.py --models 5 50 300

Needs the tables of `dvc repro` (or a plain `dvc pull`). Each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def shipped(root: Path):
    """The inputs of the pipeline's own report."""
    import pandas as pd

    from massact.fit.schemas import fits_schema
    from massact.params import load_params
    from massact.predict.schemas import PREDICTIONS, SCORES
    from massact.report import ReportInputs
    from massact.stages.swept import read_csv, stems
    from massact.tables import read_metadata, read_table
    from massact.trajectories import RECORDS, aggregate

    params = load_params(root / "params.yaml")
    names = stems(params)
    tables = [root / f"data/extracted/{name}.parquet" for name in names]
    records = pd.concat([read_table(path, RECORDS) for path in tables], ignore_index=True)
    fits = {
        form: pd.concat([read_table(root / f"data/fits/{name}-{form}.parquet", fits_schema(form)) for name in names])
        for form in params.forms
    }
    return ReportInputs(
        trajectories=aggregate(records),
        records=records,
        fits=fits,
        scores=read_csv(root / "results/scores.csv", SCORES),
        predictions=read_csv(root / "results/predictions.csv", PREDICTIONS),
        provenance=[read_metadata(path) for path in tables],
    )


def copies(inputs, models: int):
    """The same tables with this many models: the shipped ones over and over, under other names."""
    import pandas as pd

    known = [run.model for run in inputs.runs]
    names = [(f"{known[at % len(known)]}-{at:03d}", known[at % len(known)]) for at in range(models)]

    def copied(frame):
        others = frame[~frame["model"].isin(known)]
        parts = [frame[frame["model"] == old].assign(model=new) for new, old in names]
        return pd.concat([*parts, others], ignore_index=True)

    of_model = {entry["model"]: entry for entry in inputs.provenance}
    return dataclasses.replace(
        inputs,
        trajectories=copied(inputs.trajectories),
        records=copied(inputs.records),
        fits={form: copied(frame) for form, frame in inputs.fits.items()},
        predictions=copied(inputs.predictions),
        provenance=[{**of_model[old], "model": new} for new, old in names],
    )


def one(root: Path, models: int, profile: str | None) -> str:
    from massact.report import build_report

    inputs = copies(shipped(root), models)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        began = time.perf_counter(), time.process_time()
        if profile is None:
            build_report(inputs, path)
        else:
            import cProfile

            with cProfile.Profile() as found:
                build_report(inputs, path)
            found.dump_stats(profile)
        took, busy = time.perf_counter() - began[0], time.process_time() - began[1]
        text = path.read_text(encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (
        f"{models} models: {took:.1f} s, of the processor {busy:.1f} s, {busy / models:.2f} s a model, "
        f"peak memory {peak:.2f} GB, {text.count('<figure ')} figures, {len(text.encode()) / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[5, 50, 300])
    parser.add_argument("--root", type=Path, default=Path(), help="a checkout with the pipeline's tables")
    parser.add_argument("--profile", help="write the profile of the one size asked for here")
    given = parser.parse_args()
    if len(given.models) == 1:
        sys.stdout.write(one(given.root, given.models[0], given.profile) + "\n")
    else:
        for count in given.models:
            command = [sys.executable, __file__, "--root", str(given.root), "--models", str(count)]
            subprocess.run(command, check=True)
