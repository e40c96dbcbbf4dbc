"""stage=train: train one model of a family and copy its checkpoints to the family's folder when it is done."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from massact.config import Config
from massact.errors import ConfigError
from massact.settings import architecture_of, model_folder, recipe_of, table_stem


def run(config: Config, output: Path) -> list[str]:
    """Train (or continue); the finished folder replaces the family's own in one rename."""
    if config.model.source != "folder":
        raise ConfigError(f"{config.model.name} is trained elsewhere", "choose a model of a trained family")
    recipe, architecture = recipe_of(config.model.recipe, config.model.name), architecture_of(config.model)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import torch
    from transformers.utils import logging as hf_logging

    from massact.train import TrainingText, read_works, split_works, train

    hf_logging.disable_progress_bar()
    torch.set_num_threads(config.train.threads)
    works, held_out = split_works(read_works(Path(config.probe.corpus)), config.probe.held_out_works)
    name = table_stem(config.model)
    folder = Path(config.paths.runs) / recipe.name / name
    began = time.perf_counter()
    summary = train(
        architecture,
        recipe,
        folder,
        name=name,
        seed=config.model.seed,
        text=TrainingText.of(works, held_out, recipe.vocab_size),
    )
    final = model_folder(config.model)
    _replace(folder / "checkpoints", final)
    return [
        f"{name}: {architecture.n_parameters:,} parameters, {summary.steps_done} steps in "
        f"{time.perf_counter() - began:.0f} s, loss {summary.loss:.3f}, validation {summary.validation_loss:.3f}",
        f"checkpoints: {final}",
    ]


def _replace(source: Path, final: Path) -> None:
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
