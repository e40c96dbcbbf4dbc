"""Real trainings by Hugging Face's Trainer, measured and not."""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from massact.errors import MeasureError
from massact.extract import measure
from massact.recipe import checkpoint_steps
from massact.tables import read_table
from massact.train.live_hf import TrainerMeasurement
from massact.trajectories import RECORDS
from tests.train.training import (
    BATCH,
    REAL_BATCH,
    REAL_STEPS,
    TOKENS,
    Shipped,
    Windows,
    assert_same,
    assert_spike_appeared,
    live,
    real_model,
    same_weights,
    tiny_gpt2,
)


class Weights(TrainerCallback):
    """Copies of the weights after every optimiser step."""

    def __init__(self):
        self.at = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.at[state.global_step] = copy.deepcopy(model)

    on_step_end = on_train_begin


def fit(folder, callbacks, *, model=None, resume=None, save=0, **more):
    model = model or tiny_gpt2()
    arguments = {"max_steps": 6, "per_device_train_batch_size": BATCH, "learning_rate": 1e-2}
    arguments |= {"lr_scheduler_type": "constant", **more}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / "trainer"), use_cpu=True, report_to=[], disable_tqdm=True, seed=3,
            logging_strategy="no", save_strategy="steps" if save else "no", save_steps=save or 500, **arguments,
        ),
        train_dataset=Windows(64),
        callbacks=callbacks,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return model


def test_training_is_measured_and_ends_with_the_same_bits(tmp_path):
    watch, weights = live(tmp_path, tiny_gpt2(), [0, 1, 2, 4, 6]), Weights()
    plain = fit(tmp_path / "plain", [])
    measured = fit(tmp_path, [TrainerMeasurement(watch, table=tmp_path / "tiny.parquet"), weights])
    assert same_weights(plain, measured)
    assert not same_weights(plain, tiny_gpt2())
    measurements = watch.result().measured
    assert sorted(measurements) == [0, 1, 2, 4, 6]
    for step, measurement in measurements.items():
        assert np.array_equal(measurement.top, measure(weights.at[step], TOKENS).top)
    table = read_table(tmp_path / "tiny.parquet", RECORDS)
    assert sorted(table["step"].unique()) == [0, 1, 2, 4, 6]


def test_steps_are_optimiser_steps_when_gradients_add_up(tmp_path):
    watch, weights = live(tmp_path, tiny_gpt2(), [2]), Weights()
    fit(tmp_path, [TrainerMeasurement(watch), weights], gradient_accumulation_steps=3, max_steps=3)
    assert sorted(weights.at) == [0, 1, 2, 3]
    assert np.array_equal(watch.result().measured[2].top, measure(weights.at[2], TOKENS).top)


def test_a_training_that_goes_on_is_measured_on(tmp_path):
    whole = live(tmp_path / "whole", tiny_gpt2(), range(7))
    fit(tmp_path / "whole", [TrainerMeasurement(whole)])
    fit(tmp_path, [TrainerMeasurement(live(tmp_path, tiny_gpt2(), range(7)))], max_steps=4, save=2)
    # Killed at step 4 with the state of step 2: steps 3 and 4 have the same weights again, and are not measured twice.
    told: list[int] = []
    second = live(tmp_path, tiny_gpt2(), range(7), loggers=[lambda step, measurement: told.append(step)])
    fit(tmp_path, [TrainerMeasurement(second)], resume=str(tmp_path / "trainer/checkpoint-2"), save=2)
    assert told == list(range(7))
    assert sorted(second.result().measured) == list(range(7))
    assert np.array_equal(second.result().measured[1].top, whole.result().measured[1].top)


def test_only_the_first_process_measures(tmp_path):
    model, watch = tiny_gpt2(), live(tmp_path, tiny_gpt2(), [0])
    callback = TrainerMeasurement(watch, table=tmp_path / "tiny.parquet")

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path), use_cpu=True, report_to=[], disable_tqdm=True, max_steps=1, save_strategy="no"
        ),
        train_dataset=Windows(8),
    )
    state = trainer.state
    state.is_world_process_zero = False
    callback.on_train_begin(trainer.args, state, trainer.control, model=model)
    callback.on_step_end(trainer.args, state, trainer.control, model=model)
    callback.on_train_end(trainer.args, state, trainer.control, model=model)
    assert not watch.result().measured
    assert not (tmp_path / "tiny.parquet").exists()
    state.is_world_process_zero = True
    callback.on_train_begin(trainer.args, state, trainer.control, model=model)
    assert sorted(watch.result().measured) == [0]


def test_a_training_too_short_to_be_measured_ends_well(tmp_path, caplog):
    watch = live(tmp_path, tiny_gpt2(), [100])
    fit(tmp_path, [TrainerMeasurement(watch, table=tmp_path / "tiny.parquet")], max_steps=1)
    assert "tiny has no measurements yet" in caplog.text
    assert not (tmp_path / "tiny.parquet").exists()


def test_a_model_that_is_no_decoder_is_refused_before_training(tmp_path):
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 2)

        def forward(self, input_ids, labels):
            raise AssertionError("no step is to be taken")

    with pytest.raises(MeasureError, match="Plain"):
        fit(tmp_path, [TrainerMeasurement(live(tmp_path, tiny_gpt2(), [0]))], model=Plain())


@pytest.mark.slow
def test_a_real_training_is_measured_as_its_checkpoints_are(tmp_path):
    data = Shipped()
    watch = data.live(tmp_path, checkpoint_steps(REAL_STEPS, 20))
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "trainer"), use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no",
        max_steps=REAL_STEPS, per_device_train_batch_size=REAL_BATCH, learning_rate=7e-3, warmup_steps=32,
        lr_scheduler_type="cosine", weight_decay=1.0, save_steps=128,
    )  # fmt: skip
    callback = TrainerMeasurement(watch, table=tmp_path / "real.parquet")
    Trainer(model=real_model(), args=arguments, train_dataset=data, callbacks=[callback]).train()
    assert_spike_appeared(watch)
    measured, tokens = watch.result().measured, torch.from_numpy(data.probe.tokens)
    for step in (128, REAL_STEPS):
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / f"trainer/checkpoint-{step}")
        assert_same(measured[step], measure(saved, tokens))
    assert len(read_table(tmp_path / "real.parquet", RECORDS)) == 20 * 3 * 10


def tiny_neox(seed: int = 0):
    torch.manual_seed(seed)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            num_hidden_layers=2, hidden_size=16, num_attention_heads=2, intermediate_size=64, vocab_size=256,
            max_position_embeddings=8,
        )
    )  # fmt: skip


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_neox])
def test_a_training_that_resumes_keeps_its_records(tmp_path, make, caplog):
    fit(tmp_path, [TrainerMeasurement(live(tmp_path, make(), range(7)))], model=make(), max_steps=4, save=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.record")}
    # The Trainer does not restore GPT-NeoX's unembedding, on which no hidden state depends.
    checkpoint = str(tmp_path / "trainer/checkpoint-2")
    fit(tmp_path, [TrainerMeasurement(live(tmp_path, make(), range(7)))], model=make(9), resume=checkpoint, max_steps=3)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.record")}
    assert before.items() <= after.items()
    assert "from step 2 on" not in caplog.text


def test_what_follows_a_training_runs_when_its_table_cannot_be_written(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    watch = live(tmp_path, tiny_gpt2(), [0, 2])
    model = fit(tmp_path, [TrainerMeasurement(watch, table=tmp_path / "file/tiny.parquet")], max_steps=2)
    model.save_pretrained(tmp_path / "saved")
    assert "tiny.parquet was not written" in caplog.text
    assert sorted(live(tmp_path, tiny_gpt2(), [0, 2]).result().measured) == [0, 2]
