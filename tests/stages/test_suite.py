"""A suite with irregular branches, from the command line to its table: random OLMo weights on a loopback hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import OlmoConfig, OlmoForCausalLM

from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS
from tests.hub import serving, small_tokenizer

ROOT = Path(__file__).parents[2]
REPOSITORY = "allenai/OLMo-1B-hf"
NUMBERS = {"n_layers": 2, "d_model": 32, "n_heads": 4, "d_mlp": 48, "vocab_size": 512, "context": 64}
SHAPE = [f"model.architecture.{name}={value}" for name, value in NUMBERS.items()]


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("olmo")
    names = ["step0-tokens0B", "step1000-tokens4B", "step2000-tokens8B", "stage2-step500-tokens2B", "main"]
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        config = OlmoConfig(
            num_hidden_layers=2,
            hidden_size=32,
            num_attention_heads=4,
            intermediate_size=48,
            vocab_size=512,
            max_position_embeddings=64,
        )
        OlmoForCausalLM(config).save_pretrained(root / name)
        small_tokenizer().save_pretrained(root / name)
    return {name: root / name for name in names}


def words(folder: Path, *arguments: str) -> list[str]:
    return [
        "model=olmo-1b", f"paths.records={folder}/records", f"paths.extracted={folder}/extracted",
        "probe.length=16", "probe.sequences=2", "probe=corpus", *arguments,
    ]  # fmt: skip


def run(folder: Path, endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a separate process; `stage` of conftest.py does the same in this one."""
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "run.py", f"hydra.run.dir={folder}/job", *words(folder, *arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_steps_of_its_branches_are_measured_and_other_branches_reported(suite, tmp_path, stage):
    with serving({REPOSITORY: suite}) as hub:
        done = stage(hub.url, *words(tmp_path, "stage=extract", *SHAPE))
    assert done.exit_code == 0, done.output
    assert "model.variant: stage2 (1)" in done.output
    assert "main names no step" in done.output
    table = tmp_path / "extracted/olmo-1b-hf-seed0.parquet"
    frame = read_table(table, RECORDS)
    assert frame.groupby("step")["tokens"].first().to_dict() == {0: 0, 1000: 4194304000, 2000: 8388608000}
    assert read_metadata(table)["checkpoints"]["1000"]["revision_asked"] == "step1000-tokens4B"


def test_the_audit_lists_them(suite, tmp_path, stage):
    with serving({REPOSITORY: suite}) as hub:
        done = stage(hub.url, *words(tmp_path, "stage=audit", "model.variant=stage2"))
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "job" / "audit.csv")
    assert table["revision_asked"].tolist() == ["stage2-step500-tokens2B", "main"]


def test_numbers_that_are_not_the_checkpoints_own_are_refused(suite, tmp_path):
    with serving({REPOSITORY: suite}) as hub:
        done = run(tmp_path, hub.url, "stage=extract")
    assert done.returncode == 2
    (message,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("massact:")]
    assert "model.architecture.n_layers = 16" in message
    assert "model.architecture.n_layers=2" in message


def test_a_step_it_does_not_have_is_refused(suite, tmp_path, stage):
    with serving({REPOSITORY: suite}) as hub:
        done = stage(hub.url, *words(tmp_path, "stage=extract", "checkpoints=list", "checkpoints.steps=[1500]", *SHAPE))
    assert done.exit_code == 2
    assert "nearest: 1000 or 2000" in done.error


def test_a_recipe_that_the_branches_contradict_is_refused(suite, tmp_path, stage):
    with serving({REPOSITORY: suite}) as hub:
        done = stage(hub.url, *words(tmp_path, "stage=extract", "model.recipe.batch=8192", *SHAPE))
    assert done.exit_code == 2
    assert "branch step1000-tokens4B has seen 4B tokens, the recipe says 16.8B" in done.error
