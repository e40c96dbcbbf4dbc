"""stage=extract on the command line, against a loopback hub with missing files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from massact.extract.probe import REDPAJAMA_FILES
from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS
from tests.hub import REPOSITORY, commit_of, serving

ROOT = Path(__file__).parents[2]
NUMBERS = {"n_layers": 2, "d_model": 16, "n_heads": 2, "d_mlp": 64, "vocab_size": 300, "context": 32}
TINY = [f"model.architecture.{name}={value}" for name, value in NUMBERS.items()]


def words(folder: Path, *arguments: str) -> list[str]:
    return [
        "stage=extract", "model=pythia-14m", "checkpoints=list", "checkpoints.steps=[0,1,2,4]",
        "probe.length=16", "probe.sequences=2",
        f"paths.records={folder}/records", f"paths.extracted={folder}/extracted", *TINY,
        *(arguments or ["probe=corpus"]),
    ]  # fmt: skip


def extract(folder: Path, endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a separate process; `stage` of conftest.py does the same in this one."""
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "run.py", f"hydra.run.dir={folder}/job", *words(folder, *arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    (message,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("massact:")]
    assert "Traceback" not in done.stderr
    return message


def test_what_is_missing_is_summed_up_and_a_second_run_tries_only_that(weights, tmp_path, stage):
    there = {name: weights[name] for name in ("step0", "step1", "step2")}
    file = f"/resolve/{commit_of(REPOSITORY, 'step2')}/model.safetensors"
    with serving({REPOSITORY: there}, fail={file: 500}) as hub:
        done = extract(tmp_path, hub.url)
    assert done.returncode == 3
    assert "2 of 4 checkpoints not measured" in last_line(done)
    assert "step 2 (unreachable)" in done.stdout
    assert "step 4 (revision_missing)" in done.stdout
    table = tmp_path / "extracted/pythia-14m-seed0.parquet"
    assert sorted(read_table(table, RECORDS)["step"].unique()) == [0, 1]
    assert sorted(read_metadata(table)["failed"]) == ["2", "4"]
    with serving({REPOSITORY: weights}) as hub:
        done = stage(hub.url, *words(tmp_path))
        assert hub.fetched().count("model.safetensors") == 2
    assert done.exit_code == 0, done.output
    assert sorted(read_table(table, RECORDS)["step"].unique()) == [0, 1, 2, 4]
    runtime = json.loads(table.with_suffix(".runtime.json").read_text())
    assert runtime["statuses"]["4"] == "measured"
    assert runtime["from_store"] == 2


def test_a_probe_text_that_is_refused_is_not_replaced_by_another(weights, tmp_path, stage):
    with serving({REPOSITORY: weights}, fail={"/datasets/": 403}) as hub:
        done = stage(hub.url, *words(tmp_path, "probe=auto"))
    assert done.exit_code == 3
    assert "RedPajama-Data-1T-Sample cannot be read" in done.error
    assert not list(tmp_path.rglob("*.parquet"))
    with serving({REPOSITORY: weights}) as hub:  # a hub that does not have it
        done = stage(hub.url, *words(tmp_path, "probe=auto"))
    assert done.exit_code == 0, done.output
    assert read_metadata(tmp_path / "extracted/pythia-14m-seed0.parquet")["probe"]["text"] == "shakespeare"


def test_the_papers_text_comes_verified_and_its_commit_is_in_the_table(weights, tmp_path, stage):
    sample = tmp_path / "sample"
    sample.mkdir()
    for name in REDPAJAMA_FILES:
        lines = [json.dumps({"text": f"{name} {number}: the quality of mercy is not strained"}) for number in range(4)]
        (sample / name).write_text("\n".join(lines) + "\n")
    repository = "datasets/togethercomputer/RedPajama-Data-1T-Sample"
    wanted = words(tmp_path, "probe=auto", "probe.documents=12")
    with serving({REPOSITORY: weights, repository: {"main": sample}}, flip={REDPAJAMA_FILES[3]}, spoil=1) as hub:
        done = stage(hub.url, *wanted)
        assert hub.fetched().count(REDPAJAMA_FILES[3]) >= 2
    assert done.exit_code == 0, done.output
    assert f"{REDPAJAMA_FILES[3]} came with other content than the Hub states" in done.output
    table = tmp_path / "extracted/pythia-14m-seed0.parquet"
    probe = read_metadata(table)["probe"]
    assert probe["text"] == "redpajama"
    assert probe["source"] == f"togethercomputer/RedPajama-Data-1T-Sample@{commit_of(repository, 'main')}"
    before = table.read_bytes()
    assert stage("http://127.0.0.1:9", *wanted, offline="1").exit_code == 0
    assert table.read_bytes() == before


def test_a_sweep_that_cannot_fit_on_the_disk_is_a_wrong_value(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        done = extract(tmp_path, hub.url, "probe=corpus", "sweep.disk_gb=0.000001")
        assert hub.fetched().count("model.safetensors") == 0
    assert done.returncode == 2
    assert "sweep.disk_gb allows" in last_line(done)
    assert "to fetch" in done.stdout
