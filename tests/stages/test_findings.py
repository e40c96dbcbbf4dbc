"""The tables of docs/findings.md are those of its command's output."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def tables(text: str) -> list[str]:
    return [table.strip() for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)]


def run(folder: Path, *words: str) -> None:
    paths = [f"paths.{name}={folder / name}" for name in ("trajectories", "fits", "results")]
    command = [sys.executable, "run.py", *words, *paths, f"hydra.run.dir={folder}/job"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def recorded(path: str) -> Path:
    """An output as the pipeline's lock has it, in the committed store."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    (md5,) = [out["md5"] for stage in stages for out in stage["outs"] if out["path"] == path]
    return ROOT / "data/store/files/md5" / md5[:2] / md5[2:]


@pytest.mark.parametrize("refit", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["recorded fits", "refit"])
def test_the_documented_tables_are_those_of_the_dataset(tmp_path, refit):
    """From the recorded fits, which `dvc status` holds to the code that made them; refitting takes a minute or two."""
    for name in ("trajectories", "fits"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "data/trajectories/nano.parquet", tmp_path / "trajectories")
    if refit:
        run(tmp_path, "stage=fit_suite", "suite=nano", "fit=eq9")
    else:
        shutil.copy(recorded("data/fits/nano-eq9.parquet"), tmp_path / "fits/nano-eq9.parquet")
    run(tmp_path, "stage=findings", "suite=nano")
    computed = tables((tmp_path / "results/findings/nano/findings.md").read_text(encoding="utf-8"))
    documented = tables((ROOT / "docs/findings.md").read_text(encoding="utf-8"))
    assert len(computed) == 6
    for table in computed:
        assert table in documented
