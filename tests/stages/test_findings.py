"""What docs/findings.md says of the shipped suite is what its command gives."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tables(text: str) -> list[str]:
    return [table.strip() for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)]


def test_the_documented_tables_are_those_of_the_dataset(tmp_path):
    (tmp_path / "trajectories").mkdir()
    shutil.copy(ROOT / "data/trajectories/nano.parquet", tmp_path / "trajectories")
    paths = [f"paths.{name}={tmp_path / name}" for name in ("trajectories", "fits", "results")]
    for words in (["stage=fit_suite", "suite=nano", "fit=eq9"], ["stage=findings", "suite=nano"]):
        command = [sys.executable, "run.py", *words, *paths, f"hydra.run.dir={tmp_path}/job"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    made = tables((tmp_path / "results/findings/nano/findings.md").read_text(encoding="utf-8"))
    documented = tables((ROOT / "docs/findings.md").read_text(encoding="utf-8"))
    assert len(made) == 6
    for table in made:
        assert table in documented
