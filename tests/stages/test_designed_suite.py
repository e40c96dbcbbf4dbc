"""A designed suite on the command line: trained by two workers, verified, gathered, fitted, and summarised."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from massact.config import Config
from massact.errors import MassactError
from massact.pipeline import stage_named
from massact.preflight import preflight
from massact.tables import read_metadata, read_table, write_table
from massact.trajectories import ARCHITECTURES, RECORDS
from tests.corpora import small_corpus

ROOT = Path(__file__).parents[2]
SMALL = [
    "suite.name=tiny",
    "suite.architectures=9",
    "suite.replicated=[0,1]",
    "suite.replicates=2",
    "suite.measured=8",
    "suite.recipe.name=quick",
    "suite.recipe.steps=24",
    "suite.recipe.batch=4",
    "suite.recipe.window=8",
    "suite.recipe.vocab_size=300",
    "suite.space.layers=[1,2]",
    "suite.space.width=[16,48]",
    "suite.space.heads=[1,2]",
    "suite.ladders.heads.n_layers=1",
    "suite.ladders.heads.d_model=16",
    "suite.ladders.heads.d_mlp=32",
    "suite.ladders.heads.n_heads=[1,2]",
    "fit=log",  # three parameters: there are eight steps
]
PATHS = ("runs", "records", "extracted", "trajectories", "fits", "results")


def run(folder: Path, *words: str, jobs: bool = False) -> subprocess.CompletedProcess[str]:
    """The command, in a separate process."""
    where = f"hydra.sweep.dir={folder}/sweep" if jobs else f"hydra.run.dir={folder}/job"
    command = [sys.executable, "run.py", *(["-m"] if jobs else []), *settings(folder), where, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def settings(folder: Path) -> list[str]:
    return [*SMALL, *(f"paths.{name}={folder / name}" for name in PATHS)]


def stage(folder: Path, *words: str) -> list[str]:
    """The same in this process, which has imported what it needs; returns the lines to show."""
    config: Config = preflight([*settings(folder), *words], ROOT / "conf", multirun=False)[0]
    return stage_named(config.stage).run(config, folder / "job")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    return f"probe.corpus={small_corpus(tmp_path_factory.mktemp('text'))}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("suite")
    done = run(folder, corpus, "stage=suite", "suite.worker=0,1", "hydra/launcher=joblib", jobs=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr + done.stdout


def test_two_workers_train_everything_once_and_one_table_holds_it(trained):
    folder, _ = trained
    records = read_table(folder / "trajectories/tiny.parquet", RECORDS)
    metadata = read_metadata(folder / "trajectories/tiny.parquet")
    assert len(metadata["members"]) == 9 + 2 + 4
    assert {member["status"] for member in metadata["members"]} == {"done"}
    assert set(records["recipe"]) == {"quick"}
    assert records.groupby(["model", "seed"])["step"].nunique().eq(8).all()
    assert metadata["recipe"]["first_token"] == 0
    assert records["sequence"].nunique() == 10


def test_a_second_run_has_nothing_to_do(trained, corpus):
    folder, _ = trained
    before = (folder / "trajectories/tiny.parquet").read_bytes()
    assert "15 trainings" in "\n".join(stage(folder, corpus, "stage=suite"))
    assert (folder / "trajectories/tiny.parquet").read_bytes() == before


def test_a_member_trained_again_has_the_same_bits(trained, corpus, tmp_path):
    shutil.copytree(trained[0] / "trajectories", tmp_path / "trajectories")
    done = run(tmp_path, corpus, "stage=verify", "suite.only=[tiny-003-seed0,tiny-000-seed1]")
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert output.count("the same to the last bit") == 2
    assert "tiny-000-seed1: 8 steps" in output


def test_a_number_that_is_not_the_training_s_is_found(trained, corpus, tmp_path):
    path = tmp_path / "trajectories/tiny.parquet"
    shutil.copytree(trained[0] / "trajectories", tmp_path / "trajectories")
    frame, metadata = read_table(path, RECORDS), read_metadata(path)
    at = frame.index[(frame["model"] == "tiny-004") & (frame["step"] == 24)][0]
    frame.loc[at, "median"] *= 1.0001
    write_table(frame, path, RECORDS, metadata)
    with pytest.raises(MassactError, match="median at step 24, layer 0, sequence 0") as caught:
        stage(tmp_path, corpus, "stage=verify", "suite.only=[tiny-004-seed0]")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_the_dataset_and_what_it_shows(trained):
    folder, _ = trained
    params = folder / "params.yaml"
    parameters = (ROOT / "params.yaml").read_text().replace("suites: [nano]", "suites: [tiny]")
    params.write_text(re.sub(r"(?m)^models: .*", "models: [pocket-a]", parameters))
    for words in (
        ["stage=extract", "model=pocket-a", "checkpoints=quick", f'paths.runs="{ROOT}/data/runs"'],
        ["stage=gather"],
        ["stage=fit_suite"],
        ["stage=findings"],
    ):
        done = run(folder, f"paths.params={params}", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    table = read_table(folder / "trajectories/architectures.parquet", ARCHITECTURES)
    assert set(table["part"]) == {"grid", "heads", "pocket"}
    assert table.loc[table["family"] == "tiny", "seconds"].gt(0).all()
    assert table.loc[table["family"] == "pocket", "validation_loss"].gt(0).all()
    assert (table["weights_sha256"].str.len() == 64).all()
    page = (folder / "results/findings/tiny/findings.md").read_text()
    assert "| trainings | 15 |" in page
    assert "factor for twice the heads" in page
    assert "noise ceiling" in page
    assert (folder / "results/findings/tiny/trajectories.png").stat().st_size > 5000
    assert pd.read_parquet(folder / "trajectories/pocket.parquet")["family"].unique().tolist() == ["pocket"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stage=suite", "suite.only=[tiny-099-seed0]"], "suite.only: tiny-099-seed0 is not a member; nearest: tiny-0"),
        (["stage=suite", "suite.space.layers=[8,2]"], "suite.space.layers = [8, 2] is not a range"),
        (["stage=suite", "suite.space.width=[48]"], "give [smallest, largest]"),
        (["stage=suite", "suite.replicated=[40]"], "suite.replicated has 40"),
        (["stage=suite", "suite.architectures=100", "suite.space.mlp_ratio=[4,4]"], "100 were requested"),
        (["stage=verify"], "dvc pull"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path, corpus, words, message):
    with pytest.raises(MassactError) as caught:
        stage(tmp_path, corpus, *words)
    assert caught.value.exit_code == 2
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_on_the_command_line_it_is_one_line_too(tmp_path):
    done = run(tmp_path, "stage=gather")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "dvc repro" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
