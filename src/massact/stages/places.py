"""Where a stage writes. Only the pipeline writes to the pipeline's paths; a custom run writes below its job's folder.

The pipeline's command of a stage names only what dvc.yaml sweeps. A run is custom if its command chooses a model for a
stage about all models, sets a value, takes another choice of a group, or reads another params file.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import massact
from massact.config import Config
from massact.params import is_pipeline, load_params
from massact.pipeline import stage_named
from massact.settings import table_stem

# The pipeline's choice of each group in which it has only one.
_CHOICES = {
    "checkpoints": "all", "probe": "auto", "protocol": "default", "extract": "default", "sweep": "default",
    "predictor": "default", "train": "default", "published": "default", "ledger": "default", "paths": "default",
    "experiment": "pocket", "fit": "eq9",
}  # fmt: skip
# Keys that change no number: paths, speed, logging.
_FREE = ("stage", "tracking", "hydra", "paths", "sweep", "train.threads")
_PIPELINE_PARAMS = "params.yaml"
_ARTEFACT = Path(massact.__file__).parent / "artefacts" / "forecast.json"


def place(config: Config, name: str, output: Path) -> Path:
    """The path that a stage writes to for `paths.<name>`.

    It is the configured path for the pipeline's own run, and if the command line names it. Otherwise it is a folder or
    file of the same last name below the job's folder. A custom run never writes the shipped artefact.
    """
    configured = Path(getattr(config.paths, name))
    if not is_own(config):
        return configured
    shipped = name == "artefact" and configured.resolve() == _ARTEFACT.resolve()
    return configured if f"paths.{name}" in _keys(_overrides()) and not shipped else output / configured.name


def is_own(config: Config) -> bool:
    """Whether this is a custom run, not the pipeline's. Also true for a table of the pipeline made in another way."""
    own_params = Path(config.paths.params).resolve() != Path(_PIPELINE_PARAMS).resolve()
    if config.stage in ("extract", "fit"):
        if not _swept_by_pipeline(config):
            return False  # a user's model has its own tables
        own_params = own_params and config.stage == "fit"
    swept = stage_named(config.stage).swept
    return own_params or any(_differs(override, swept) for override in _overrides())


def _differs(override: str, swept: Sequence[str]) -> bool:
    """Whether the pipeline's command would not have this word."""
    key, _, value = override.lstrip("+~").partition("=")
    head = key.partition(".")[0].partition("/")[0]
    return not (head in _FREE or key in _FREE or key in swept or _CHOICES.get(key) == value)


def chosen_model(config: Config) -> str | None:
    """The file stem of the model that the command line chooses; None if it chooses none."""
    keys = _keys(_overrides())
    return table_stem(config.model) if any(key == "model" or key.startswith("model.") for key in keys) else None


def command() -> str:
    """The command line that repeats this job."""
    program = "massact run" if Path(sys.argv[0]).name == "massact" else "python run.py"
    return shlex.join([*program.split(), *_overrides()])


def _swept_by_pipeline(config: Config) -> bool:
    path = Path(_PIPELINE_PARAMS)
    if not is_pipeline(path):
        return False
    params = load_params(path)
    stems = {f"{model}-seed{seed}" for model in params.models for seed in params.seeds}
    return table_stem(config.model) in stems and (config.stage != "fit" or config.fit.form in params.forms)


def _keys(overrides: Sequence[str]) -> set[str]:
    return {override.lstrip("+~").partition("=")[0] for override in overrides}


def _overrides() -> list[str]:
    """The words of the command line. Empty if other code called the stage."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
