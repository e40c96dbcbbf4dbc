"""Real trainings by Lightning, measured and not."""

import copy
import subprocess
import sys
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from massact.errors import MeasureError
from massact.extract import measure
from massact.recipe import checkpoint_steps
from massact.tables import read_table
from massact.train.live_lightning import LightningMeasurement, decoder_in
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


class Module(pl.LightningModule):
    def __init__(self, decoder=None):
        super().__init__()
        self.decoder = tiny_gpt2() if decoder is None else decoder

    def training_step(self, batch, batch_idx):
        return self.decoder(**batch).loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


class Weights(pl.Callback):
    """Copies of the weights after every batch, by global step."""

    def __init__(self):
        self.at = {}

    def on_train_start(self, trainer, pl_module):
        self.at[trainer.global_step] = copy.deepcopy(pl_module.decoder)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.at[trainer.global_step] = copy.deepcopy(pl_module.decoder)


def fit(folder, callbacks, *, module=None, ckpt_path=None, package=pl, **more):
    module = module or Module()
    package.seed_everything(3, verbose=False)
    trainer = package.Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, callbacks=callbacks, **{"max_steps": 6, **more},
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(Windows(64), batch_size=BATCH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of workers for loading and the like
        trainer.fit(module, loader, ckpt_path=ckpt_path)
    return module, trainer


def test_training_is_measured_and_ends_with_the_same_bits(tmp_path):
    watch, weights = live(tmp_path, tiny_gpt2(), [0, 1, 2, 4, 6]), Weights()
    plain, _ = fit(tmp_path, [])
    measured, _ = fit(tmp_path, [LightningMeasurement(watch, table=tmp_path / "tiny.parquet"), weights])
    assert same_weights(plain, measured)
    assert not same_weights(plain, Module())
    measurements = watch.result().measured
    assert sorted(measurements) == [0, 1, 2, 4, 6]
    for step, measurement in measurements.items():
        assert np.array_equal(measurement.top, measure(weights.at[step], TOKENS).top)
    assert sorted(read_table(tmp_path / "tiny.parquet", RECORDS)["step"].unique()) == [0, 1, 2, 4, 6]


def test_steps_are_optimiser_steps_when_gradients_add_up(tmp_path):
    watch, weights = live(tmp_path, tiny_gpt2(), [2]), Weights()
    fit(tmp_path, [LightningMeasurement(watch), weights], accumulate_grad_batches=3, max_steps=3)
    assert sorted(weights.at) == [0, 1, 2, 3]
    assert np.array_equal(watch.result().measured[2].top, measure(weights.at[2], TOKENS).top)


def test_a_training_that_goes_on_is_measured_on(tmp_path):
    first = live(tmp_path, tiny_gpt2(), range(7))
    _, trainer = fit(tmp_path, [LightningMeasurement(first)], max_steps=4)
    trainer.save_checkpoint(tmp_path / "four.ckpt")
    told: list[int] = []
    second = live(tmp_path, tiny_gpt2(), range(7), loggers=[lambda step, measurement: told.append(step)])
    fit(tmp_path, [LightningMeasurement(second)], ckpt_path=tmp_path / "four.ckpt")
    assert told == list(range(7))


def test_the_old_package_does_too(tmp_path):
    import pytorch_lightning

    class OldModule(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.decoder = tiny_gpt2()

        training_step, configure_optimizers = Module.training_step, Module.configure_optimizers

    watch = live(tmp_path, tiny_gpt2(), [0, 6])
    fit(tmp_path, [LightningMeasurement(watch)], module=OldModule(), package=pytorch_lightning)
    assert sorted(watch.result().measured) == [0, 6]


def test_where_only_the_old_package_is_installed():
    code = (
        "import sys; sys.modules['lightning'] = None\n"
        "from massact.train.live_lightning import LightningMeasurement as L\n"
        "import pytorch_lightning\n"
        "assert issubclass(L, pytorch_lightning.Callback)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Two(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.student, self.teacher = tiny_gpt2(0), tiny_gpt2(1)


def test_the_decoder_is_found_or_asked_for(tmp_path):
    module = Module()
    assert decoder_in(module) is module.decoder
    assert decoder_in(module.decoder) is module.decoder
    assert decoder_in(Module(torch.compile(module.decoder))) is module.decoder
    with pytest.raises(MeasureError, match=r"2 Hugging Face models \(GPT2LMHeadModel, GPT2LMHeadModel\)"):
        decoder_in(Two())
    with pytest.raises(MeasureError, match=r"Linear holds 0 .* model=lambda"):
        decoder_in(torch.nn.Linear(2, 2))
    tied = Two()
    tied.teacher = tied.student
    assert decoder_in(tied) is tied.student


def test_the_model_asked_for_is_measured(tmp_path):
    class Student(Two):
        def training_step(self, batch, batch_idx):
            return self.student(**batch).loss

        configure_optimizers = Module.configure_optimizers

    watch, module = live(tmp_path, tiny_gpt2(), [3]), Student()
    with pytest.raises(MeasureError, match="name the one"):
        fit(tmp_path, [LightningMeasurement(watch)], module=Student())
    fit(tmp_path, [LightningMeasurement(watch, model=lambda m: m.student)], module=module, max_steps=3)
    assert np.array_equal(watch.result().measured[3].top, measure(module.student, TOKENS).top)


@pytest.mark.slow
def test_a_real_training_is_measured_as_its_checkpoints_are(tmp_path):
    class Real(Module):
        def configure_optimizers(self):
            optimiser = torch.optim.AdamW(self.parameters(), lr=7e-3, weight_decay=1.0)
            rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 7e-3, total_steps=REAL_STEPS + 1, pct_start=0.05)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    data, module = Shipped(), Real(real_model())
    watch = data.live(tmp_path, checkpoint_steps(REAL_STEPS, 20))
    keep = pl.callbacks.ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=128, save_top_k=-1)
    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, max_steps=REAL_STEPS, gradient_clip_val=1.0,
        callbacks=[LightningMeasurement(watch, table=tmp_path / "real.parquet"), keep],
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=REAL_BATCH, shuffle=True))
    assert_spike_appeared(watch)
    measured, tokens = watch.result().measured, torch.from_numpy(data.probe.tokens)
    for step in (128, REAL_STEPS):
        saved = torch.load(tmp_path / f"step={step}.ckpt", weights_only=False)
        module.load_state_dict(saved["state_dict"])
        assert_same(measured[step], measure(module.decoder, tokens))
    assert len(read_table(tmp_path / "real.parquet", RECORDS)) == 20 * 3 * 10
