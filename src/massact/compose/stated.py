"""Compare the configured model with the config.json files of its checkpoints."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.architecture import Architecture, differences, numbers_in
from massact.checkpoints.files import read_config
from massact.checkpoints.folder import FolderSource, trainer_state
from massact.checkpoints.hub import HubSource
from massact.config import Config
from massact.errors import ConfigError, MassactError
from massact.extract.outcome import Failure
from massact.recipe import Recipe
from massact.settings import model_folder, model_name
from massact.shipped import CONF

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource
    from massact.extract.outcome import SweepResult

log = logging.getLogger("massact")
OTHER_MODEL = "other_model"
SAME_COUNT = 1e-3  # relative difference below which two numbers of tokens per step count as equal
_NAMES = tuple(field.name for field in fields(Architecture))


@dataclass(frozen=True)
class Stated:
    """The architecture and the recipe of the measured checkpoints.

    Attributes
    ----------
    architecture
        The numbers of `massact.Architecture`. A number is None if neither the configuration nor config.json states it.
    recipe, tokens_per_step
        Empty and None if it is unknown how the model was trained.
    tokens
        Step -> training tokens as the checkpoints' names state them, where nothing says how many a step takes.
    """

    architecture: dict[str, Any]
    recipe: str
    tokens_per_step: int | None
    tokens: Mapping[int, int] = field(default_factory=dict)


def numbers_of(folder: Path) -> dict[str, Any]:
    """The numbers in the config.json of a checkpoint. Empty if there is no such file."""
    path = folder / "config.json"
    return numbers_in(read_config(folder)) if path.is_file() else {}


def folder_architecture(source: CheckpointSource) -> Architecture | None:
    """The architecture of the first checkpoint of a folder; None where its config.json does not state all of it."""
    if not isinstance(source, FolderSource):
        return None
    try:
        numbers = numbers_of(source.small_files(source.steps()[0]))
        return Architecture(**numbers)
    except (MassactError, IndexError, TypeError):
        return None


def check_architecture(config: Config, folder: Path) -> dict[str, Any]:
    """Check the configured architecture against that of a checkpoint, whose numbers are returned.

    A model on the Hub, or in conf/model/, must have exactly the configured numbers. A folder with another model name
    has the numbers of its config.json.

    Raises
    ------
    ConfigError
        When the checkpoint has another architecture than configured.
    """
    numbers = numbers_of(folder)
    if config.model.architecture is None:
        return numbers
    for name, (actual, configured) in differences(numbers, config.model.architecture.as_dict()).items():
        what = f"model.architecture.{name} = {configured}, but {folder / 'config.json'} says {actual}"
        if config.model.source != "folder":
            raise ConfigError(what, f"set model.architecture.{name}={actual}, or choose another model")
        if _described(config.model.name):
            raise ConfigError(
                f"{what}: it is not {config.model.name}",
                "give it a name of its own: model.name=... (its numbers are then those of its config.json)",
            )
    return numbers


def hold_to_model(config: Config, source: CheckpointSource, result: SweepResult) -> Stated:
    """Check the config.json of every measured step. Steps of another model become failures.

    Each distinct config.json is read once.
    """
    by_config: dict[object, dict[str, Any]] = {}
    by_step: dict[int, dict[str, Any]] = {}
    for step, identity in result.identified.items():
        key = identity.config_id or step
        if key not in by_config:
            by_config[key] = numbers_of(source.small_files(step))
        by_step[step] = by_config[key]
    architecture = config.model.architecture
    configured = dict.fromkeys(_NAMES) if architecture is None else architecture.as_dict()
    published = config.model.source == "hub"  # its recipe is stated for its repository
    own = architecture is None or (config.model.source == "folder" and not _described(config.model.name))
    model, known = configured, True
    if own and by_step:
        counts = Counter(json.dumps(numbers, sort_keys=True) for numbers in by_step.values())
        usual = json.loads(counts.most_common(1)[0][0])
        known = published if architecture is None else not differences(usual, configured)
        model = configured if known and architecture else {name: usual.get(name) for name in _NAMES}
    for step, numbers in by_step.items():
        for name, (actual, expected) in list(differences(numbers, model).items())[:1]:
            del result.measured[step], result.identified[step]
            what = f"step {step} is of another model: its config.json says {name} {actual}, the model has {expected}"
            result.failed[step] = Failure(OTHER_MODEL, what, "leave it out, or measure it as a separate model")
    recipe = config.model.recipe
    if recipe is None:
        named = source.tokens if isinstance(source, HubSource) else {}
        per_step = None if named else tokens_per_step(source, result.measured)
        return Stated(model, "", per_step, named)
    if known and (published or not own or _recipe_given(config, recipe)):
        return Stated(model, recipe.name, recipe.tokens_per_step)
    log.warning(
        "%s: it is not known how it was trained, so its recipe and tokens are left empty (state them with "
        "model.recipe.name=..., model.recipe.batch and .window)",
        model_name(config.model),
    )
    return Stated(model, "", None)


def _described(name: str) -> bool:
    """Whether conf/model/ has a model of this name."""
    return _in_conf("model", name)


def tokens_per_step(source: CheckpointSource, steps: Iterable[int]) -> int | None:
    """Tokens of an optimiser step, from the Trainer's count beside the checkpoints; None where it does not say.

    None also where the count is not the same for every step, as in a run whose batch grew.
    """
    counts: set[float] = set()
    for step in steps:
        tokens = trainer_state(source.small_files(step)).get("num_input_tokens_seen") if step else None
        if isinstance(tokens, int | float) and tokens > 0:
            counts.add(tokens / step)
    low, high = min(counts, default=0.0), max(counts, default=0.0)
    return round(high) if low and high - low <= SAME_COUNT * high else None


def _recipe_given(config: Config, recipe: Recipe) -> bool:
    """Whether the recipe is this model's own: by its folder's training.json, or by a name that is not in conf/recipe/.

    A folder measured with another model's configuration inherits that model's recipe, which does not apply to it.
    """
    log_of_training = model_folder(config.model) / "training.json"
    try:
        stated: Any = json.loads(log_of_training.read_text(encoding="utf-8"))["recipe"]
        return all(stated[name] == getattr(recipe, name) for name in ("name", "batch", "window"))
    except (OSError, ValueError, KeyError, TypeError):
        return not _in_conf("recipe", recipe.name)


def _in_conf(group: str, name: str) -> bool:
    return any((root / group / f"{name}.yaml").is_file() for root in (Path.cwd() / "conf", CONF))
