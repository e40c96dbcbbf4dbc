"""Where a stage writes: the pipeline's places are the pipeline's, a run of one's own writes below its job's folder.

The pipeline's command of a stage names nothing but what dvc.yaml sweeps. A command that chooses a model for a stage
about all of them, sets a value, takes another choice of a group, or reads another params file is a run of one's own.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import massact
from massact.config import Config
from massact.params import load_params
from massact.pipeline import stage_named
from massact.settings import table_stem

# The pipeline's choices of each group, where it has one alone.
_CHOICES = {
    "checkpoints": "all", "probe": "auto", "protocol": "default", "extract": "default", "sweep": "default",
    "predictor": "default", "train": "default", "published": "default", "paths": "default",
    "experiment": "pocket", "fit": "eq9",
}  # fmt: skip
# Keys that change no number: where things lie, how fast they come, where they are logged.
_FREE = ("stage", "tracking", "hydra", "paths", "sweep", "train.threads")
_PIPELINE_PARAMS = "params.yaml"
_ARTEFACT = Path(massact.__file__).parent / "artefacts" / "forecast.json"


def place(config: Config, name: str, output: Path) -> Path:
    """The path that a stage writes to for `paths.<name>`.

    That path itself for the pipeline's own run, and where the command line names it; else a folder or file of the same
    last name below the job's folder. The shipped artefact is never written by a run of one's own.
    """
    wanted = Path(getattr(config.paths, name))
    if not is_own(config):
        return wanted
    shipped = name == "artefact" and wanted.resolve() == _ARTEFACT.resolve()
    return wanted if f"paths.{name}" in _keys(_overrides()) and not shipped else output / wanted.name


def is_own(config: Config) -> bool:
    """Whether this run is one's own and not the pipeline's; also true of a table of the pipeline made another way."""
    own_params = Path(config.paths.params).resolve() != Path(_PIPELINE_PARAMS).resolve()
    if config.stage in ("extract", "fit"):
        if not _swept_by_pipeline(config):
            return False  # a model of one's own has tables of its own
        own_params = own_params and config.stage == "fit"
    swept = stage_named(config.stage).swept
    return own_params or any(_differs(override, swept) for override in _overrides())


def _differs(override: str, swept: Sequence[str]) -> bool:
    """Whether a word of the command line is one that the pipeline's command would not have."""
    key, _, value = override.lstrip("+~").partition("=")
    head = key.partition(".")[0].partition("/")[0]
    return not (head in _FREE or key in _FREE or key in swept or _CHOICES.get(key) == value)


def chosen_model(config: Config) -> str | None:
    """File stem of the model that the command line chooses, None where it chooses none."""
    keys = _keys(_overrides())
    return table_stem(config.model) if any(key == "model" or key.startswith("model.") for key in keys) else None


def command() -> str:
    """The command line of this job, to be typed again."""
    program = "massact run" if Path(sys.argv[0]).name == "massact" else "python run.py"
    return shlex.join([*program.split(), *_overrides()])


def _swept_by_pipeline(config: Config) -> bool:
    path = Path(_PIPELINE_PARAMS)
    if not path.is_file():
        return False
    params = load_params(path)
    stems = {f"{model}-seed{seed}" for model in params.models for seed in params.seeds}
    return table_stem(config.model) in stems and (config.stage != "fit" or config.fit.form in params.forms)


def _keys(overrides: Sequence[str]) -> set[str]:
    return {override.lstrip("+~").partition("=")[0] for override in overrides}


def _overrides() -> list[str]:
    """The words of the command line; none where a stage is called by other code."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
