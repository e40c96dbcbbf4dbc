"""The share of live measurement in a training: 44 measured steps of 2,048, 10 x 32 tokens, recipe `grid`, one thread.

    python benchmarks/live_overhead.py            # shares from shortened trainings, as Markdown
    python benchmarks/live_overhead.py --whole 3  # pairs of whole trainings of the small model, with and without

A shortened training measures 44 times, with other steps in between. Share: 44 m / (2048 s + 44 m), where m and s are
the medians over measurements and steps. MLflow adds 44 calls, and at most one write per five seconds of the whole
training. Opening its store is reported separately, because it does not grow with the training.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from massact import Architecture
from massact.extract import Measurement, RecordStore
from massact.extract.probe import Probe, chunk
from massact.recipe import Recipe, checkpoint_steps
from massact.train import LiveMeasurement, Subject, TrainingText, build_model, read_works, split_works, train
from massact.train.data import windows_at
from massact.train.live_loggers import Loggers
from massact.train.live_mlflow import MlflowLogger
from massact.train.live_warnings import Warnings

ROOT = Path(__file__).parents[1]
SHAPES = {"small": (2, 48, 2), "middle": (4, 96, 4), "large": (8, 192, 4)}
STEPS, MEASURED = 2048, 44
BETWEEN = {"small": 8, "middle": 4, "large": 2}
WRITE_EVERY_S = 5.0

Clock = tuple[float, float]  # seconds of wall time, of processor time


def clock() -> Clock:
    return time.perf_counter(), time.process_time()


def since(before: Clock) -> Clock:
    now = clock()
    return now[0] - before[0], now[1] - before[1]


class TimedLive(LiveMeasurement):
    """Times each measurement, and each training step as the time between two calls."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.measurements: list[Clock] = []
        self.training: list[Clock] = []
        self._left: Clock | None = None

    def __call__(self, step: int, model: Any) -> Measurement | None:
        if self._left is not None:
            self.training.append(since(self._left))
        due, began = self.due(step), clock()
        found = super().__call__(step, model)
        if due:
            self.measurements.append(since(began))
        self._left = clock()
        return found


class TimedLogger:
    """An MlflowLogger that writes at every step, timed."""

    def __init__(self, logger: MlflowLogger) -> None:
        self.logger = logger
        self.calls: list[Clock] = []

    def __call__(self, step: int, measurement: Measurement) -> None:
        began = clock()
        self.logger(step, measurement)
        self.calls.append(since(began))


def recipe() -> Recipe:
    said: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/recipe/grid.yaml"))
    return Recipe.of_dict({**said.pop("optimiser"), **said})


def material(r: Recipe) -> tuple[TrainingText, Probe]:
    works, held_out = split_works(read_works(ROOT / "data/corpus/shakespeare.txt.gz"), 2)
    text = TrainingText.of(works, held_out, r.vocabulary)
    probe = chunk(text.validation, sequences=10, length=r.window, first_token=r.first_token, text="shakespeare")
    return text, probe


def architecture(size: str, r: Recipe) -> Architecture:
    layers, width, heads = SHAPES[size]
    return Architecture(
        n_layers=layers, d_model=width, n_heads=heads, d_mlp=4 * width, vocab_size=r.vocabulary, context=r.window
    )


def timed(folder: Path, size: str, r: Recipe, probe: Probe, steps: Any, loggers: Any = ()) -> TimedLive:
    subject = Subject(
        family="bench", recipe=r.name, model=size, architecture=architecture(size, r).as_dict(),
        tokens_per_step=r.tokens_per_step,
    )  # fmt: skip
    return TimedLive(
        subject, probe, steps, store=RecordStore(folder / "records"), journal=folder / "measured.json", loggers=loggers
    )


def own_loop(size: str, r: Recipe, text: TrainingText, live: TimedLive, folder: Path, steps: int) -> None:
    train(
        architecture(size, r), replace(r, steps=steps, checkpoints=1), folder / "run", name=size, seed=0, text=text,
        watch=live, keep_checkpoints=False, progress=False,
    )  # fmt: skip


class Windows(torch.utils.data.Dataset):
    """The recipe's windows, one at a time."""

    def __init__(self, r: Recipe, text: TrainingText, steps: int) -> None:
        rows = [
            windows_at(text.stream, seed=0, step=step, batch=r.batch, window=r.window, first_token=r.first_token)
            for step in range(steps + 1)
        ]
        self.rows = torch.cat(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def hf_trainer(size: str, r: Recipe, text: TrainingText, live: TimedLive, folder: Path, steps: int) -> None:
    from transformers import Trainer, TrainingArguments

    from massact.train.live_hf import TrainerMeasurement

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no",
        save_strategy="no", max_steps=steps, per_device_train_batch_size=r.batch,
        learning_rate=r.training.learning_rate,
        dataloader_pin_memory=False,
    )  # fmt: skip
    model = build_model(architecture(size, r), 0)
    Trainer(
        model=model, args=arguments, train_dataset=Windows(r, text, steps), callbacks=[TrainerMeasurement(live)]
    ).train()


def lightning(size: str, r: Recipe, text: TrainingText, live: TimedLive, folder: Path, steps: int) -> None:
    import lightning.pytorch as pl

    from massact.train.live_lightning import LightningMeasurement

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = build_model(architecture(size, r), 0)

        def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
            return self.decoder(**batch).loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=r.learning_rate)

    class EveryStep(LightningMeasurement):
        """Also calls at steps that are not due, so that they are timed."""

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.live(trainer.global_step, self.model(pl_module))

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = pl.Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, max_steps=steps, gradient_clip_val=r.training.clip,
        callbacks=[EveryStep(live, model=lambda module: module.decoder)],
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(Windows(r, text, steps), batch_size=r.batch))


def writes(step_s: float) -> int:
    """How many writes to MLflow a whole training makes, one every five seconds at most, and one at its end."""
    last, count = -np.inf, 1
    for step in checkpoint_steps(STEPS, MEASURED):
        if step * step_s - last >= WRITE_EVERY_S:
            last, count = step * step_s, count + 1
    return count


def share(cost: float, step: float) -> float:
    return 100 * cost / (STEPS * step + cost)


def report(label: str, size: str, run: Callable[..., None], r: Recipe, text: TrainingText, probe: Probe) -> None:
    """One row: medians in ms as wall (processor) time, and shares in %."""
    folder = Path(tempfile.mkdtemp(dir=ROOT / "data"))  # the disk that records lie on
    try:
        steps = BETWEEN[size] * (MEASURED - 1)
        due = range(0, steps + 1, BETWEEN[size])
        live = timed(folder, size, r, probe, due)
        logger = None
        if run is own_loop:
            uri = f"sqlite:///{folder}/mlflow.db"
            logger = TimedLogger(MlflowLogger(live.subject, probe, tracking_uri=uri, every_s=0.0))
            live.loggers = Loggers((logger,), Warnings(size, strict=True), resumed=False)
        run(size, r, text, live, folder, steps)
        measured, trained = np.array(live.measurements), np.array(live.training)
        assert len(live.result().measured) == MEASURED
        mlflow = None
        if logger is not None:
            calls = np.array(logger.calls)
            measured = measured[-len(calls) :] - calls
            mlflow = calls[1:]  # the first opens the store
            logger.logger.close()
            began = clock()
            again = MlflowLogger(replace(live.subject, seed=1), probe, tracking_uri=uri)
            again(0, live.result().measured[0])
            found = since(began)
            opening = f"{calls[0][0]:.1f} ({calls[0][1]:.1f}) s; {found[0]:.2f} ({found[1]:.2f}) s"
        step, m = np.median(trained, axis=0), np.median(measured, axis=0)
        cells = [f"{1e3 * step[0]:.1f} ({1e3 * step[1]:.1f})", f"{1e3 * m[0]:.1f} ({1e3 * m[1]:.1f})"]
        cells.append(" ".join(f"{share(MEASURED * m[k], step[k]):.2f}" for k in (0, 1)).replace(" ", " (") + ")")
        if mlflow is not None:
            w, count = np.median(mlflow, axis=0), writes(float(step[0]))
            cells.append(f"{1e3 * w[0]:.1f} ({1e3 * w[1]:.1f}) x {count}")
            with_it = [share(MEASURED * m[k] + count * w[k], step[k]) for k in (0, 1)]
            cells.append(f"{with_it[0]:.2f} ({with_it[1]:.2f})")
            cells.append(opening)
        print(f"| {label} | {' | '.join(cells)} |", flush=True)
    finally:
        shutil.rmtree(folder)


def whole(pairs: int, r: Recipe, text: TrainingText, probe: Probe) -> None:
    """Whole trainings of the small model, alternately without and with live measurement."""
    for pair in range(pairs):
        took = {}
        for with_it in (False, True) if pair % 2 == 0 else (True, False):
            folder = Path(tempfile.mkdtemp(dir=ROOT / "data"))
            try:
                live = timed(folder, "small", r, probe, checkpoint_steps(STEPS, MEASURED) if with_it else ())
                began = clock()
                own_loop("small", r, text, live, folder, STEPS)
                took[with_it] = (*since(began), live.seconds, len(live.result().measured))
            finally:
                shutil.rmtree(folder)
        (w1, p1, spent, count), (w0, p0, _, _) = took[True], took[False]
        print(
            f"pair {pair}: without {w0:.1f} ({p0:.1f}) s, with {w1:.1f} ({p1:.1f}) s, ratio {w1 / w0:.4f} "
            f"({p1 / p0:.4f}); {count} measurements took {spent:.3f} s, {100 * spent / w1:.2f} % of the training",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", type=int, default=0, metavar="PAIRS", help="whole trainings of the small model")
    parser.add_argument("--sizes", nargs="+", default=list(SHAPES), choices=SHAPES)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    r = recipe()
    text, probe = material(r)
    if wanted.whole:
        whole(wanted.whole, r, text, probe)
        return
    print("wall time, processor time in brackets; ms, shares in %")
    print("| training | step | measurement | share | MLflow write x writes | share with MLflow | store made; found |")
    print("|---|---|---|---|---|---|---|")
    for size in wanted.sizes:
        report(f"own loop, {size}", size, own_loop, r, text, probe)
    if "middle" in wanted.sizes:
        report("Hugging Face's Trainer, middle", "middle", hf_trainer, r, text, probe)
        report("Lightning, middle", "middle", lightning, r, text, probe)


if __name__ == "__main__":
    main()
