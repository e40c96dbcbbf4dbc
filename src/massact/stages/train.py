"""stage=train: train one model of a family, then copy its checkpoints to the family's folder."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from massact.architecture import Architecture
from massact.config import Config
from massact.errors import ConfigError, MassactError
from massact.outputs import Stranger, files_in, replace_folder, replaceable
from massact.recipe import Recipe
from massact.settings import check_trained_here, described, model_folder, table_stem

MARKER = "training.json"
# The files that `save_pretrained` writes for a model and a tokenizer.
_OF_A_CHECKPOINT = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json|model\.safetensors"
)


def run(config: Config, output: Path) -> list[str]:
    """Train, or continue a training. The finished folder replaces one of the same model, seed and recipe.

    Raises
    ------
    OutputError
        Before any work, when the model's folder has other content.
    """
    if config.model.source != "folder":
        raise ConfigError(f"{config.model.name} is trained elsewhere", "choose a model of a trained family")
    architecture, recipe = described(config.model)
    check_trained_here(recipe, config.model.name)
    name, final = table_stem(config.model), model_folder(config.model)
    folder = Path(config.paths.runs) / recipe.name / name
    same = checkpoints_of({"name": name, "seed": config.model.seed}, architecture, recipe)
    replaceable(final, same)
    replaceable(folder, run_folder)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import torch
    from transformers.utils import logging as hf_logging

    from massact.train import TrainingText, read_works, split_works, train

    hf_logging.disable_progress_bar()
    torch.set_num_threads(config.train.threads)
    works, held_out = split_works(read_works(Path(config.probe.corpus)), config.probe.held_out_works)
    began = time.perf_counter()
    summary = train(
        architecture,
        recipe,
        folder,
        name=name,
        seed=config.model.seed,
        text=TrainingText.of(works, held_out, recipe.vocabulary),
    )
    replace_folder(folder / "checkpoints", final, same)
    return [
        f"{name}: {architecture.n_parameters:,} parameters, {summary.steps_done} steps in "
        f"{time.perf_counter() - began:.0f} s, loss {summary.loss:.3f}, validation {summary.validation_loss:.3f}",
        f"checkpoints: {final}",
    ]


def checkpoints_of(named: dict[str, Any], architecture: Architecture, recipe: Recipe) -> Stranger:
    """A check that a folder has this model's checkpoints, according to its `training.json`, and nothing else."""

    def stranger(folder: Path) -> str:
        try:
            training = json.loads((folder / MARKER).read_text(encoding="utf-8"))
            steps = {f"step{int(row['step'])}" for row in training["log"]}
            same = (
                all(training[key] == value for key, value in named.items())
                and Architecture(**training["architecture"]) == architecture
                and Recipe.of_dict(training["recipe"]) == recipe
            )
        except OSError:
            return f"is not empty and has no {MARKER}: massact did not write it"
        except (ValueError, KeyError, TypeError, MassactError):
            return f"has a {MARKER} that is not massact's"
        if not same:
            return f"holds another model, seed, architecture or recipe ({MARKER} says which)"
        return _foreign_file(folder, steps)

    return stranger


def run_folder(folder: Path) -> str:
    """Why a folder is not that of a training in progress; empty if it is."""
    return "" if (folder / "run.json").is_file() else "is not empty and has no run.json: massact did not write it"


def _foreign_file(folder: Path, steps: set[str]) -> str:
    for name in sorted(files_in(folder)):
        step, _, file = name.rpartition("/")
        if name != MARKER and not (step in steps and _OF_A_CHECKPOINT.fullmatch(file)):
            return f"holds {name}, which massact did not write"
    return ""
