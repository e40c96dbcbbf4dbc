"""python run.py on the command line, with the shipped weights."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from massact.fit.schemas import fits_schema
from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("records")


def run(folder: Path, records: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "run.py",
            *(["-m"] if "-m" in arguments else []),
            f"hydra.run.dir={folder}/job",
            f"hydra.sweep.dir={folder}/sweep",
            f"paths.records={records}",
            "fit.resamples=20",
            f"tracking.uri=sqlite:///{folder}/mlflow.db",
            *(a for a in arguments if a != "-m"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def logged(folder: Path) -> int:
    with sqlite3.connect(folder / "mlflow.db") as store:
        return store.execute("select count(*) from runs").fetchone()[0]


def test_one_composition_is_measured_fitted_and_logged(tmp_path, records):
    done = run(tmp_path, records, "model=pocket-d", "checkpoints=quick")
    assert done.returncode == 0, done.stdout + done.stderr
    frame = read_table(tmp_path / "job/pocket-d-seed0.parquet", RECORDS)
    assert frame["step"].nunique() == 6
    assert frame["sequence"].nunique() == 10
    metadata = read_metadata(tmp_path / "job/pocket-d-seed0.parquet")
    assert metadata["dtype"] == "float32"
    assert len(metadata["tokens_sha256"]) == 64
    checkpoint = metadata["checkpoints"]["0"]
    assert checkpoint["revision_asked"] == "step0"
    assert len(checkpoint["weights_sha256"]) == 64
    runtime = json.loads((tmp_path / "job/pocket-d-seed0.runtime.json").read_text())
    assert runtime["from_store"] == 0
    assert runtime["libraries"]["torch"]
    read_table(tmp_path / "job/pocket-d-seed0-eq9.parquet", fits_schema("eq9"))
    assert "layer  0" in done.stdout
    assert (tmp_path / "job/figures/fits.png").stat().st_size > 5_000
    assert logged(tmp_path) == 2  # the model, and nested in it its fit
    store = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    fitted, model = sorted(store.search_runs(["1"]), key=lambda r: r.info.run_name)
    assert (fitted.info.run_name, model.info.run_name) == ("eq9 of pocket-d seed 0", "pocket-d seed 0")
    assert fitted.data.tags["mlflow.parentRunId"] == model.info.run_id
    assert fitted.data.tags["mlflow.source.name"] == "run.py"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert fitted.data.tags["mlflow.source.git.commit"] == head.strip()
    assert len(store.get_metric_history(model.info.run_id, "ratio/layer00")) == 6
    assert [f.path for f in store.list_artifacts(model.info.run_id, "figures")] == [
        "figures/maps-1.png", "figures/trajectories-1.png"
    ]  # fmt: skip
    assert [f.path for f in store.list_artifacts(fitted.info.run_id, "figures")] == ["figures/fits.png"]
    assert run(tmp_path, records, "model=pocket-d", "checkpoints=quick").returncode == 0
    assert logged(tmp_path) == 2


@pytest.mark.parametrize(("launcher", "models"), [("basic", ["pocket-d"]), ("joblib", ["pocket-c", "pocket-d"])])
def test_a_sweep_shares_its_measurements(tmp_path, records, launcher, models):
    done = run(
        tmp_path,
        records,
        "-m",
        f"model={','.join(models)}",
        "fit=eq9,step2",
        "checkpoints=quick",
        f"hydra/launcher={launcher}",
    )
    expected = 2 * len(models)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{expected} of {expected} jobs done" in done.stdout
    jobs = sorted((tmp_path / "sweep").glob("*/status.json"))
    assert len(jobs) == expected
    runtimes = [json.loads(p.read_text()) for p in (tmp_path / "sweep").glob("*/*.runtime.json")]
    assert sum(len(r["seconds"]) for r in runtimes) <= 6 * len(models)
    assert logged(tmp_path) == len(models) + expected  # the models, and their fits


def test_a_missing_family_says_how_to_get_it(tmp_path, records):
    done = run(tmp_path, records, "model=pocket-d", "model.seed=77")
    assert done.returncode == 3
    assert "dvc pull -R data" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
