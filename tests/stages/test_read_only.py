"""A checkout without write permission: each stage ends in one line before its work."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.users import without_override

ROOT = Path(__file__).parents[2]
STAGES = ["fit", "report", "track", "train"]
SLOW = ["extract", "predict", "findings", "fit_suite", "suite", "gather"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """What the stages read, in a folder that takes no files."""
    folder = tmp_path_factory.mktemp("read only") / "checkout"
    for name in ("conf", "data/corpus", "data/extracted", "data/fits", "data/pocket", "data/trajectories", "results"):
        if (ROOT / name).is_dir():  # results of the pipeline need not be there: no stage comes to read them
            shutil.copytree(ROOT / name, folder / name)
    for name in ("run.py", "params.yaml", "dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, folder)
    subprocess.run(["chmod", "-R", "a-w", folder], check=True)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)


@pytest.mark.parametrize("stage", [*STAGES, *(pytest.param(stage, marks=pytest.mark.slow) for stage in SLOW)])
def test_a_read_only_checkout_is_one_line_before_any_work(checkout, tmp_path, stage):
    words = [sys.executable, "run.py", f"stage={stage}", f"hydra.run.dir={tmp_path}/job"]
    began = time.monotonic()
    done = subprocess.run(
        [*without_override(), *words], cwd=checkout, capture_output=True, text=True, check=False, timeout=600
    )
    took = time.monotonic() - began
    output = done.stdout + done.stderr
    assert done.returncode == 3, output
    assert "Permission denied); get permission to write there (chmod u+w)" in output
    assert output.count("cannot be written to") == 1
    assert "Traceback" not in output and "unexpected error" not in output
    assert took < 60, f"{stage} worked for {took:.0f} s before it saw that its place takes no files"
