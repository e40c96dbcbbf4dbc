"""stage=train as a user types it: killed, continued, finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = [
    "stage=train",
    "model=pocket-d",
    "model.recipe.steps=40",
    "model.recipe.batch=4",
    "model.recipe.checkpoints=9",
    "model.architecture.d_model=16",
    "model.architecture.n_heads=2",
    "model.architecture.d_mlp=32",
]


def command(folder: Path) -> list[str]:
    return [
        sys.executable,
        "run.py",
        *SMALL,
        f"model.folder={folder}/final",
        f"paths.runs={folder}/runs",
        f"hydra.run.dir={folder}/job",
    ]


def test_a_killed_training_continues_and_ends_with_whole_checkpoints(tmp_path):
    first = subprocess.Popen(command(tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs/nano/pocket-d-seed0/state.pt").is_file():
        assert time.monotonic() < deadline, "no state was written"
        assert first.poll() is None or first.returncode == 0
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tokens/s" in done.stderr
    assert "loss" in done.stderr
    steps = sorted(int(p.name.removeprefix("step")) for p in (tmp_path / "final").glob("step*"))
    assert steps[0] == 0
    assert steps[-1] == 40
    assert all((tmp_path / "final" / f"step{s}" / "model.safetensors").is_file() for s in steps)
    assert (tmp_path / "final/training.json").is_file()
