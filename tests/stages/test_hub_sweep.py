"""A sweep over Pythia models: against a loopback hub with random weights of the true shapes, and without a hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from massact import Architecture
from massact.checkpoints.pythia import PYTHIA_STEPS
from tests.hub import serving, write_checkpoint

ROOT = Path(__file__).parents[2]
NOWHERE, MODELS = "http://127.0.0.1:9", ["70m", "1b"]
JOBS = ("checkpoints=quick", "fit=eq9,eq14")  # two of each model
SHAPES = {"14m": (6, 128, 4), "70m": (6, 512, 8), "1b": (16, 2048, 8)}


def sweep(
    folder: Path, endpoint: str, sizes: list[str], *more: str, offline: str = "0"
) -> tuple[subprocess.CompletedProcess[str], float]:
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": offline}
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "run.py", "-m", f"model={','.join(f'pythia-{s}' for s in sizes)}",
            f"hydra.sweep.dir={folder}/sweep", f"paths.records={folder}/records",
            f"tracking.uri=sqlite:///{folder}/mlflow.db", *more,
        ],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, time.monotonic() - began


def complete(folder: Path, sizes: list[str], forms: tuple[str, ...] = ("eq9", "eq14")) -> None:
    """Serve the sizes at every step and sweep over them."""
    repositories = {}
    for size in sizes:
        layers, width, heads = SHAPES[size]
        shape = Architecture(n_layers=layers, d_model=width, n_heads=heads, d_mlp=4 * width)
        first, later = (write_checkpoint(folder / f"{size}-{seed}", shape, seed) for seed in (0, 1))
        repositories[f"EleutherAI/pythia-{size}"] = {f"step{s}": later if s else first for s in PYTHIA_STEPS}
    with serving(repositories) as hub:
        short = ("probe.length=16", "probe.sequences=2", "fit.resamples=20")
        done, _ = sweep(folder, hub.url, sizes, "checkpoints=quick,log", f"fit={','.join(forms)}", *short)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = 2 * len(forms) * len(sizes)
    assert f"{jobs} of {jobs} jobs done" in done.stdout
    assert hub.requests["file"] <= 5 * 24 * len(sizes)
    runtimes = [json.loads(path.read_text()) for path in (folder / "sweep").glob("*/*.runtime.json")]
    assert sum(len(r["seconds"]) for r in runtimes) == 2 * len(sizes)
    tables = list((folder / "sweep").glob("*/pythia-*-eq14.parquet"))
    assert len(tables) == 2 * len(sizes)


def test_the_sweep_completes(tmp_path):
    """One model, two selections, one form; tests/stages/test_run.py sweeps over models and forms."""
    complete(tmp_path, ["14m"], ("eq14",))


@pytest.mark.slow
def test_the_sweep_completes_with_1b(tmp_path):
    complete(tmp_path, ["70m", "1b"])


def test_without_a_hub_it_ends_in_seconds_with_one_line_a_model(tmp_path):
    done, seconds = sweep(tmp_path, NOWHERE, MODELS, *JOBS)
    assert done.returncode == 3
    messages = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("massact:")]
    assert len(messages) == 2
    assert all(f"pythia-{size}" in line and "HF_HOME" in line for size, line in zip(MODELS, messages, strict=True))
    assert "Traceback" not in done.stderr
    # Hydra's compositions take most of the time: the limit is a few seconds more than for a sweep without requests.
    assert seconds < sweep(tmp_path / "offline", NOWHERE, MODELS, *JOBS, offline="1")[1] + 8
