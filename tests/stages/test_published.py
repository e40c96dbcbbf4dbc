"""stage=published against a loopback hub, its cache, and local folders."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from massact.errors import CheckpointError, ConfigError, StorageError
from massact.fit.schemas import fits_schema
from massact.preflight import preflight
from massact.stages import published
from massact.stages.swept import suspects_of
from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS
from tests.hub import serving
from tests.test_preflight import CONF
from tests.trajectories.writing import excerpt, write_stats

ROOT = Path(__file__).parents[2]
NAME = "Aimpoint-Digital/pythia-massive-activations"
COMMIT = "c4c539ac4f8c8fc9694603895d00c1f1af940a20"
STATS = "pythia_14m/stats"
STEPS = (0, 2, 512, 1000, 12000, 18000, 52000)
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """A dataset of pythia-14m: seven good files, one cut off, one of five layers; and files of other models."""
    root = tmp_path_factory.mktemp("dataset")
    stats = root / STATS
    for step in STEPS:
        share = step / 52000  # steps without an excerpt lie between two that have one
        between = (1 - share) * excerpt("14m", 2) + share * excerpt("14m", 52000)
        write_stats(stats, "14m", step, between if step in (512, 1000) else excerpt("14m", step))
    whole = write_stats(stats, "14m", 4000, excerpt("14m", 2)).read_text()
    (stats / "exp2_pythia_14m_step4000").write_text(whole[: len(whole) // 2])
    write_stats(stats, "14m", 8000, excerpt("14m", 2)[:, :, :5])
    write_stats(root / "pythia_160m/stats", "160m", 16, excerpt("160m", 16))
    (root / "README.md").write_text("measurements\n")
    return root


def serve(dataset, **faults):
    return serving({f"datasets/{NAME}": {COMMIT: dataset}}, **faults)


def config(tmp_path, *overrides, model="pythia-14m"):
    wanted = [f"paths.{name}={tmp_path}/{name}" for name in ("published", "records")]
    return preflight(["stage=published", f"model={model}", *wanted, *overrides], CONF, multirun=False)[0]


def words(tmp_path, *arguments) -> list[str]:
    folders = [f"paths.{name}={tmp_path}/{name}" for name in ("records", "published", "fits")]
    return ["model=pythia-14m", *folders, *arguments]


def python_run(tmp_path, endpoint, *arguments) -> subprocess.CompletedProcess[str]:
    """In a separate process; `stage` of conftest.py does the same in this one."""
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": f"{tmp_path}/hf", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "run.py", f"hydra.run.dir={tmp_path}/job", *words(tmp_path, *arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_from_the_hub_to_fits(tmp_path, dataset, stage):
    with serve(dataset) as hub:
        done = python_run(tmp_path, hub.url, "stage=published")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"dataset {NAME} {COMMIT[:12]}: 9 of 9 files downloaded, cached and checked" in done.stdout
        assert "rejected exp2_pythia_14m_step8000: it has 5 layers, the model 6" in done.stdout
        first = (tmp_path / "published/pythia-14m-seed0.parquet").read_bytes()
    again = stage(NOWHERE, *words(tmp_path, "stage=published"), offline="1")
    assert again.exit_code == 0, again.output
    assert "0 of 9 files downloaded, cached and checked" in again.output
    path = tmp_path / "published/pythia-14m-seed0.parquet"
    assert path.read_bytes() == first
    records = read_table(path, RECORDS)
    assert sorted(set(records["step"])) == list(STEPS)
    rejected = pd.read_csv(tmp_path / "published/pythia-14m-seed0.rejected.csv")
    assert rejected["step"].tolist() == [4000, 8000]
    fitted = stage(NOWHERE, *words(tmp_path, "stage=fit", f"paths.extracted={tmp_path}/published"))
    assert fitted.exit_code == 0, fitted.output
    fits = read_table(tmp_path / "fits/pythia-14m-seed0-eq9.parquet", fits_schema("eq9"))
    assert len(fits) == 6 * 3
    assert set(fits["n_points"]) == {len(STEPS)}


def test_without_a_network_it_is_one_line_and_status_3(tmp_path):
    done = python_run(tmp_path, NOWHERE, "stage=published")
    assert done.returncode == 3
    messages = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("massact:")]
    assert len(messages) == 1
    assert NAME in messages[0]
    assert "Traceback" not in done.stderr


def test_metadata_says_where_every_number_comes_from(tmp_path, dataset):
    lines = published.run(config(tmp_path, f"published.folder={dataset}"), tmp_path)
    path = tmp_path / "published/pythia-14m-seed0.parquet"
    assert lines[-1].startswith(f"{path}: 7 checkpoints, 420 records, 2 files rejected")
    metadata = read_metadata(path)
    content = (dataset / STATS / "exp2_pythia_14m_step12000").read_bytes()
    assert metadata["checkpoints"]["12000"]["file_sha256"] == hashlib.sha256(content).hexdigest()
    assert metadata["dtype"] == "float16"
    assert metadata["probe"] == {"text": "redpajama", "length": 2048, "first_token": -1}
    assert metadata["architecture"]["n_layers"] == 6
    assert metadata["suspects"] == {}
    assert sorted(metadata["rejected"]) == ["exp2_pythia_14m_step4000", "exp2_pythia_14m_step8000"]
    assert suspects_of([metadata]) == [
        f"pythia-14m step {step}: {metadata['failed'][str(step)]} (not measured)" for step in (4000, 8000)
    ]


def test_a_folder_of_the_files_themselves_will_do(tmp_path, dataset):
    lines = published.run(config(tmp_path, f"published.folder={dataset / STATS}"), tmp_path)
    assert "7 checkpoints" in lines[-1]


def test_known_suspects_are_kept_named_and_left_out_of_fits(tmp_path):
    from massact.stages.fit import without_suspects

    wide = excerpt("160m", 16)[:, :, [*range(12)] * 3]
    for step in (2000, 49000, 50000, 58000):
        write_stats(tmp_path / "12b", "12b", step, wide * (1 + step / 1e6))
    lines = published.run(config(tmp_path, f"published.folder={tmp_path}/12b", model="pythia-12b"), tmp_path)
    path = tmp_path / "published/pythia-12b-seed0.parquet"
    metadata = read_metadata(path)
    assert sorted(metadata["suspects"]) == ["50000", "58000"]
    assert sum("is suspect: it serves the first shard of step143000" in line for line in lines) == 2
    records = read_table(path, RECORDS)
    assert sorted(set(records["step"])) == [2000, 49000, 50000, 58000]
    assert sorted(set(without_suspects(records, metadata)["step"])) == [2000, 49000]


def test_a_folder_without_a_usable_file_is_status_3_and_the_reasons_are_kept(tmp_path, dataset):
    with pytest.raises(CheckpointError, match="none of 9 files") as caught:
        published.run(config(tmp_path, f"published.folder={dataset / STATS}", model="pythia-70m"), tmp_path)
    assert "pythia-70m-seed0.rejected.csv" in caught.value.remedy
    assert not (tmp_path / "published/pythia-70m-seed0.parquet").exists()
    assert len(pd.read_csv(tmp_path / "published/pythia-70m-seed0.rejected.csv")) == 9


@pytest.mark.parametrize("overrides", [["model=pocket-a"], ["model=pythia-70m", "model.deduped=true"]])
def test_only_the_papers_models_are_in_the_published_dataset(tmp_path, overrides):
    with pytest.raises(ConfigError, match="not in the published dataset"):
        published.run(config(tmp_path, *overrides), tmp_path)


def test_a_model_the_dataset_has_no_files_of_is_a_wrong_value(tmp_path, dataset, online, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with serve(dataset) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(ConfigError, match="no files of pythia-31m"):
            published.run(config(tmp_path, model="pythia-31m"), tmp_path)


def test_a_disk_that_refuses_is_reported(tmp_path, dataset):
    (tmp_path / "published").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written to"):
        published.run(config(tmp_path, f"published.folder={dataset}"), tmp_path)


def test_the_report_shows_published_numbers(tmp_path, dataset):
    from massact.report import ReportInputs, build_report
    from massact.trajectories import aggregate

    published.run(config(tmp_path, f"published.folder={dataset}"), tmp_path)
    path = tmp_path / "published/pythia-14m-seed0.parquet"
    records, metadata = read_table(path, RECORDS), read_metadata(path)
    inputs = ReportInputs(
        trajectories=aggregate(records), records=records, provenance=[metadata], suspects=suspects_of([metadata])
    )
    build_report(inputs, tmp_path / "report.html")
    assert "it has 5 layers, the model 6" in (tmp_path / "report.html").read_text()
