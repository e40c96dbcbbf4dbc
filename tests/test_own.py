"""`massact measure WHERE && massact report` on a user's own checkpoints."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import massact as massact_in_python
from massact.cli import main
from massact.errors import ConfigError, MissingInputError
from massact.fit.schemas import fits_schema
from massact.own import measure_overrides
from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS
from tests.runs import TOKENS_PER_STEP, write_run

SMALL = ("--sequences", "3", "--length", "24", "--set", "fit.resamples=0")


def massact(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, in a separate process in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "massact.cli", *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """An empty folder, with spaces and a letter beyond ASCII in its path, beside the runs of two trainings."""
    folder = tmp_path_factory.mktemp("some one's") / "prôject"
    write_run(folder / "runs" / "my llama")
    write_run(folder / "runs" / "gpt2", "gpt2", name="step{}", steps=(0, 1, 2, 4, 8, 16), tokenizer=False)
    return folder


@pytest.fixture(scope="module")
def measured(project) -> subprocess.CompletedProcess[str]:
    return massact(project, "measure", "runs/my llama", "--name", "llama", *SMALL)


def test_two_commands_lead_from_a_folder_to_a_page(project, measured):
    assert measured.returncode == 0, measured.stderr
    text = measured.stderr + measured.stdout
    assert "llama-seed0: 6 checkpoints, steps 0 to 200" in text
    assert "3 sequences of 24 tokens (shakespeare, each beginning with token 0)" in text
    lines = [line for line in text.splitlines() if line.startswith(("0  ", "1  ", "2  "))]
    assert len(lines) == 3
    assert all("dimension" in line for line in lines)
    assert text.rstrip().endswith("see it as a page: massact report")
    page = massact(project, "report")
    assert page.returncode == 0, page.stderr
    assert "6 checkpoints" in page.stdout
    html = (project / "massact-results/report.html").read_text(encoding="utf-8")
    assert "llama" in html
    assert "Scores</a>" not in html


def test_the_tables_say_what_the_folder_says(project, measured):
    assert measured.returncode == 0, measured.stderr
    path = project / "massact-results/extracted/llama-seed0.parquet"
    records, metadata = read_table(path, RECORDS), read_metadata(path)
    assert sorted(set(records["step"])) == [0, 10, 20, 50, 100, 200]
    assert (records["tokens"] == records["step"] * TOKENS_PER_STEP).all()
    assert set(records["first_token"]) == {0}
    assert set(records["recipe"]) == {""}
    assert metadata["architecture"]["n_layers"] == 3
    assert metadata["architecture"]["parallel_residual"] is False
    grown = records[records["layer"] == 2].groupby("step")["top1"].mean().to_numpy()
    assert (np.diff(grown) > 0).all()


def test_a_repeat_measures_nothing_again_and_another_model_joins_the_page(project, measured):
    again = massact(project, "measure", "runs/my llama", "--name", "llama", *SMALL)
    assert "6 stored" in again.stderr + again.stdout
    bare = massact(project, "measure", "runs/gpt2", *SMALL)
    assert bare.returncode != 0
    assert "has no tokenizer; give token ids, a text, or random tokens: --probe FILE.npy" in bare.stdout
    random = massact(project, "measure", "runs/gpt2", "--probe", "random", "--steps", "0,1,16", *SMALL)
    assert random.returncode == 0, random.stderr
    assert "random seed 0, without a special first token" in random.stderr + random.stdout
    assert "9 of 9 fits failed" in random.stdout
    assert main(["report", "--out", str(project / "massact-results")]) == 0
    html = (project / "massact-results/report.html").read_text(encoding="utf-8")
    assert "llama" in html
    assert "gpt2" in html


def test_token_ids_of_ones_own_are_read_as_they_are(project):
    ids = np.random.default_rng(0).integers(0, 300, (4, 12))
    np.save(project / "ids.npy", ids)
    done = massact(project, "measure", "runs/gpt2/step16", "--probe", "ids.npy", "--sequences", "4", "--out", "ids")
    assert done.returncode == 0, done.stderr
    (path,) = (project / "ids/extracted").glob("*.parquet")
    records = read_table(path, RECORDS)
    assert set(records["step"]) == {16}
    assert set(records["probe_length"]) == {12}
    assert records["sequence"].nunique() == 4


def test_python_returns_the_tables_of_the_command(project, measured, monkeypatch):
    assert measured.returncode == 0, measured.stderr
    monkeypatch.chdir(project)
    options = {"name": "llama", "sequences": 3, "length": 24, "progress": False}
    table = massact_in_python.measure_checkpoints("runs/my llama", **options)
    path = project / "massact-results/extracted/llama-seed0.parquet"
    assert table.equals(read_table(path, RECORDS))
    assert table.attrs == read_metadata(path)
    fits = massact_in_python.fit_table(table, resamples=0).drop(columns="quoted")
    assert fits.equals(read_table(project / "massact-results/fits/llama-seed0-eq9.parquet", fits_schema("eq9")))


def test_chosen_layers_are_a_selection_from_the_records_of_all(project, measured):
    assert measured.returncode == 0, measured.stderr
    records = project / "massact-results/records"
    before = {path: path.read_bytes() for path in records.rglob("*.record")}
    whole = read_table(project / "massact-results/extracted/llama-seed0.parquet", RECORDS)
    words = ("--name", "llama", "--layers", "0,last", "--out", "some", *SMALL)
    done = massact(project, "measure", "runs/my llama", *words, "--set", f'paths.records="{records}"')
    assert done.returncode == 0, done.stderr
    assert "6 stored" in done.stderr + done.stdout
    path = project / "some/extracted/llama-seed0.parquet"
    some = read_table(path, RECORDS)
    assert some.equals(whole[whole["layer"] != 1].reset_index(drop=True))
    assert read_metadata(path)["layers"] == [0, 2]
    assert before == {path: path.read_bytes() for path in records.rglob("*.record")}
    assert main(["report", "--out", str(project / "some")]) == 0


def test_layers_that_the_model_lacks_are_refused_in_one_line(project):
    done = massact(project, "measure", "runs/my llama", "--layers", "0,3-5", *SMALL)
    assert done.returncode == 2
    assert "extract.layers: there is no layer 3; the model has layers 0 to 2" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def options(where: str, **given) -> argparse.Namespace:
    names = ("steps", "probe", "sequences", "length", "layers", "dtype", "device", "fit", "name")
    given = {**dict.fromkeys(names), "last": False, "out": "out", "overrides": [], **given}
    return argparse.Namespace(where=where, **given)


@pytest.mark.parametrize(
    ("where", "given", "kind", "match"),
    [
        ("nowhere", {}, MissingInputError, "nowhere is not a folder"),
        ("pythia-70", {}, MissingInputError, "pythia-70m"),
        (".", {"last": True, "steps": "all"}, ConfigError, "contradict"),
        (".", {"steps": "1,x"}, ConfigError, "--steps '1,x'"),
    ],
)
def test_invalid_numbers_are_refused_in_one_line(where, given, kind, match):
    with pytest.raises(kind, match=match) as caught:
        measure_overrides(options(where, **given))
    assert "\n" not in str(caught.value)


def test_a_place_is_a_folder_a_repository_or_a_known_model(tmp_path):
    assert measure_overrides(options(str(tmp_path)))[1:3] == ["model=folder", f'model.folder="{tmp_path}"']
    assert measure_overrides(options("hub:allenai/OLMo-1B-hf"))[1:3] == [
        "model=hub", 'model.repository="allenai/OLMo-1B-hf"',
    ]  # fmt: skip
    assert "model=pythia-70m" in measure_overrides(options("pythia-70m"))
    assert "checkpoints.steps=[0,512]" in measure_overrides(options("pythia-70m", steps="0,512"))


def test_a_folder_without_checkpoints_says_where_they_are(project):
    done = massact(project, "measure", "runs")
    assert done.returncode == 3
    assert "give a folder inside it: runs/gpt2, runs/my llama" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    shutil.rmtree(project / "empty", ignore_errors=True)
    (project / "empty").mkdir()
    assert "step1000/, checkpoint-1000/" in massact(project, "measure", "empty").stdout


def test_a_page_about_nothing_says_how_to_measure(tmp_path, capsys):
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "massact measure FOLDER" in capsys.readouterr().err
