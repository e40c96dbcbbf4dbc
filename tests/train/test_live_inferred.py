"""`Trainer(..., callbacks=[massact.live()])`: real trainings on the CPU, measured and not."""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, default_data_collator

import massact
from massact.cli import main
from massact.errors import MeasureError
from massact.extract import measure
from massact.tables import read_metadata, read_table
from massact.train.unwrap import unwrapped
from massact.trajectories import RECORDS
from tests.runs import byte_tokenizer
from tests.train.training import BATCH, TOKENS, Windows, same_weights

ROOT = Path(__file__).parents[2]


def tiny(seed: int = 0) -> GPT2LMHeadModel:
    """Two layers with dropout, so that an eye is kept on the random state."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=300, n_positions=16))


def train(folder: Path, callback=None, *, model=None, resume=None, tokenizer=None, **more):
    """Three steps by default; returns the trained model."""
    model = tiny() if model is None else model
    arguments = {"max_steps": 3, "save_strategy": "no", **more}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, seed=3, logging_strategy="no",
            learning_rate=1e-2, lr_scheduler_type="constant", per_device_train_batch_size=BATCH, **arguments,
        ),
        train_dataset=Windows(64),
        processing_class=tokenizer,
        data_collator=default_data_collator,
        callbacks=[] if callback is None else [callback],
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return model


def test_one_line_measures_everything_into_a_folder_that_report_reads(tmp_path, capsys):
    plain = train(tmp_path / "plain", tokenizer=byte_tokenizer())
    callback = massact.live()
    folder = tmp_path / "my run"
    measured = train(folder, callback, tokenizer=byte_tokenizer())
    assert same_weights(plain, measured)
    results = folder / "massact-results"
    assert callback.table.parent == results / "extracted"
    assert callback.table.name.startswith("my-run-")
    records, metadata = read_table(callback.table, RECORDS), read_metadata(callback.table)
    assert sorted(set(records["step"])) == [0, 1, 2, 3]
    assert set(records["seed"]) == {3}
    assert records["tokens"].isna().all()
    assert metadata["probe"] == {"text": "shakespeare", "length": 16, "first_token": 0}
    assert records["sequence"].nunique() == 10
    last = callback.measurement.result().measured[3]
    assert np.array_equal(last.top, measure(measured, callback.measurement.probe.tokens).top)
    assert main(["report", "--out", str(results)]) == 0
    assert "4 checkpoints" in capsys.readouterr().out


KINDS = {
    "accumulation": {"gradient_accumulation_steps": 3},
    "bf16": {"bf16": True},
    "checkpointing": {"gradient_checkpointing": True},
    "compile": {"torch_compile": True, "torch_compile_backend": "eager"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_trainings_of_every_kind_are_measured_and_end_with_the_same_bits(kind, tmp_path):
    plain = train(tmp_path / "plain", **KINDS[kind])
    callback = massact.live(probe=TOKENS, tokens_per_step=96)
    measured = train(tmp_path / "run", callback, **KINDS[kind])
    assert same_weights(plain, measured)
    assert not same_weights(plain, tiny())
    found = callback.measurement.result().measured
    assert sorted(found) == [0, 1, 2, 3]
    assert np.array_equal(found[0].top, measure(tiny(), TOKENS).top)
    assert np.array_equal(found[3].top, measure(unwrapped(measured), TOKENS).top)
    assert sorted(set(read_table(callback.table, RECORDS)["tokens"])) == [0, 96, 192, 288]


def test_a_training_that_goes_on_continues_its_table(tmp_path):
    whole = massact.live(probe=TOKENS)
    train(tmp_path / "whole", whole, max_steps=5)
    run = tmp_path / "run"
    train(run, massact.live(probe=TOKENS), max_steps=5, save_strategy="steps", save_steps=2)
    records = list(run.rglob("*.record"))
    for path in (run / "checkpoint-4", run / "massact-results/extracted"):
        path.rename(tmp_path / path.name)
    again = massact.live(probe=TOKENS)
    train(run, again, model=tiny(9), max_steps=5, resume=str(run / "checkpoint-2"))
    assert sorted(again.measurement.result().measured) == [0, 1, 2, 4, 5]
    assert sorted(records) == sorted(run.rglob("*.record"))
    a, b = (read_table(callback.table, RECORDS).drop(columns="model") for callback in (whole, again))
    assert a.equals(b)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_adapters_are_measured_with_their_model(tmp_path):
    from peft import LoraConfig, get_peft_model

    def adapted():
        torch.manual_seed(1)
        settings = LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False)
        return get_peft_model(tiny(), settings)

    plain = train(tmp_path / "plain", model=adapted())
    callback = massact.live(probe=TOKENS, steps=[0, 3])
    measured = train(tmp_path / "run", callback, model=adapted())
    assert same_weights(plain, measured)
    found = callback.measurement.result().measured
    merged = copy.deepcopy(measured).merge_and_unload()
    assert np.allclose(found[3].top, measure(merged, TOKENS).top, rtol=1e-4)
    assert not np.array_equal(found[3].top, measure(tiny(), TOKENS).top)


def test_what_cannot_be_inferred_is_said_before_the_training(tmp_path):
    with pytest.raises(MeasureError, match=r"no tokenizer; give Trainer\(processing_class") as caught:
        train(tmp_path, massact.live())
    assert "\n" not in str(caught.value)
    with pytest.raises(MeasureError, match="'rondom' is no probe"):
        train(tmp_path, massact.live(probe="rondom"))
    random = massact.live(probe="random", sequences=2, length=8, steps=2, name="mine")
    train(tmp_path, random, max_steps=1)
    assert random.measurement.probe.text == "random seed 0"
    assert random.table == tmp_path / "massact-results/extracted/mine-seed3.parquet"


PROCESSES = """
import sys
from pathlib import Path

import torch

import massact
from tests.train.test_live_inferred import train
from tests.train.training import TOKENS

if __name__ == "__main__":
    folder, measured = Path(sys.argv[1]), sys.argv[2] == "measured"
    callback = massact.live(probe=TOKENS) if measured else None
    model = train(folder, callback, ddp_backend="gloo")
    rank = torch.distributed.get_rank()
    assert torch.distributed.get_world_size() == 2
    if measured:
        assert (callback.measurement is None) == (rank == 1), rank
    torch.save(model.state_dict(), folder / f"weights-{rank}.pt")
"""


@pytest.mark.slow
def test_of_two_processes_only_the_first_measures(tmp_path):
    """About 40 s: two processes that import torch and transformers, twice."""
    script = tmp_path / "train.py"
    script.write_text(PROCESSES)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"}
    for kind in ("plain", "measured"):
        words = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", "--master_port=0"]
        words += ["--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0", str(script), str(tmp_path / kind), kind]
        done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    weights = [torch.load(tmp_path / kind / f"weights-{rank}.pt") for kind in ("plain", "measured") for rank in (0, 1)]
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in weights[0])
    (table,) = (tmp_path / "measured/massact-results/extracted").glob("*.parquet")
    assert sorted(set(read_table(table, RECORDS)["step"])) == [0, 1, 2, 3]
