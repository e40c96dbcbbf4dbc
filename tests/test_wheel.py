"""The wheel contains all that an installed massact needs: its artefacts, the configuration, its types."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import massact
from tests.runs import write_run

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "conf", "data/corpus", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of this checkout, made from a copy so that nothing is left in it."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        there = ROOT / name
        if there.is_dir():
            shutil.copytree(there, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(there, source / name)
    to = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", str(to), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = to.glob("massact-*.whl")
    return wheel


def test_the_wheel_holds_every_file_of_the_package_and_the_configuration(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = (path for path in (ROOT / "src/massact").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in package}
    wanted.add("massact/data/corpus/shakespeare.txt.gz")
    wanted |= {f"massact/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert {"massact/py.typed", "massact/artefacts/forecast.json", "massact/conf/config.yaml"} <= wanted
    assert wanted <= names, wanted - names
    assert not [name for name in names if name.split("/")[0] in ("tests", "benchmarks", "conf")]


def test_its_metadata_states_version_licence_and_links(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    headers = Parser().parsestr(archive.read(metadata).decode())
    assert headers["Version"] == massact.__version__
    assert headers["License-Expression"] == "MIT"
    assert "Paper, https://arxiv.org/abs/2508.03616" in headers.get_all("Project-URL")


def test_a_forecast_is_answered_from_the_wheel_alone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    words = ["forecast", "n_layers=6", "d_model=128", "n_heads=4", "d_mlp=512", "--csv"]
    code = f"import massact, massact.cli as c; print(massact.__file__); raise SystemExit(c.main({words}))"
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).is_relative_to(tmp_path / "site")
    assert "lower" in done.stdout


def test_checkpoints_are_measured_from_the_wheel_alone_in_an_empty_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    project = tmp_path / "own"
    write_run(project / "run")
    words = ["measure", "run", "--steps", "0,200", "--sequences", "2", "--length", "16", "--set", "fit.resamples=0"]
    done = subprocess.run(
        [sys.executable, "-m", "massact.cli", *words], cwd=project, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run-seed0: 2 checkpoints, steps 0 to 200" in done.stdout
    assert (project / "massact-results/extracted/run-seed0.parquet").is_file()
