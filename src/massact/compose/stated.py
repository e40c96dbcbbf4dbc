"""What the checkpoints' own config.json files say, and what of a configured model is true of them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.architecture import Architecture, differences, numbers_in
from massact.checkpoints.files import read_config
from massact.checkpoints.folder import FolderSource, trainer_state
from massact.config import Config
from massact.errors import ConfigError, MassactError
from massact.extract.outcome import Failure
from massact.recipe import Recipe
from massact.settings import model_folder, model_name

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource
    from massact.extract.outcome import SweepResult

log = logging.getLogger("massact")
OTHER_MODEL = "other_model"
SAME_COUNT = 1e-3  # relative difference between tokens a step that still counts as one number
_NAMES = tuple(field.name for field in fields(Architecture))


@dataclass(frozen=True)
class Stated:
    """What is true of the measured checkpoints.

    Attributes
    ----------
    architecture
        The numbers of `massact.Architecture`; None where neither the configuration nor config.json is known to say.
    recipe, tokens_per_step
        Empty and None where nobody says how the model was trained.
    """

    architecture: dict[str, Any]
    recipe: str
    tokens_per_step: int | None


def numbers_of(folder: Path) -> dict[str, Any]:
    """The numbers that the config.json of a checkpoint states; none where there is no such file."""
    path = folder / "config.json"
    return numbers_in(read_config(folder)) if path.is_file() else {}


def folder_architecture(config: Config) -> Architecture | None:
    """The architecture of the first checkpoint of a folder; None where its config.json does not state all of it."""
    if config.model.source != "folder":
        return None
    try:
        source = FolderSource(model_folder(config.model))
        numbers = numbers_of(source.small_files(source.steps()[0]))
        return Architecture(**numbers)
    except (MassactError, IndexError, TypeError):
        return None


def check_architecture(config: Config, folder: Path) -> dict[str, Any]:
    """Hold the configured numbers to those of a checkpoint, which are returned.

    A model on the Hub, and one that conf/model/ describes, must be what its configuration says, number for number. A
    folder under a name of its own is what its config.json says.

    Raises
    ------
    ConfigError
        When the checkpoint is of another architecture than configured.
    """
    found = numbers_of(folder)
    if config.model.architecture is None:
        return found
    for name, (said, configured) in differences(found, config.model.architecture.as_dict()).items():
        what = f"model.architecture.{name} = {configured}, but {folder / 'config.json'} says {said}"
        if config.model.source != "folder":
            raise ConfigError(what, f"set model.architecture.{name}={said}, or choose another model")
        if _described(config.model.name):
            raise ConfigError(
                f"{what}: it is not {config.model.name}",
                "give it a name of its own: model.name=... (its numbers are then those of its config.json)",
            )
    return found


def hold_to_model(config: Config, source: CheckpointSource, result: SweepResult) -> Stated:
    """Hold every measured step's config.json to the model; steps of another model are taken out as failures.

    Files are read once for each distinct config.json.
    """
    read: dict[object, dict[str, Any]] = {}
    by_step: dict[int, dict[str, Any]] = {}
    for step, identity in result.identified.items():
        key = identity.config_id or step
        if key not in read:
            read[key] = numbers_of(source.small_files(step))
        by_step[step] = read[key]
    wanted = config.model.architecture
    configured = dict.fromkeys(_NAMES) if wanted is None else wanted.as_dict()
    own = wanted is None or (config.model.source == "folder" and not _described(config.model.name))
    model, known = configured, True
    if own and by_step:
        counts = Counter(json.dumps(numbers, sort_keys=True) for numbers in by_step.values())
        usual = json.loads(counts.most_common(1)[0][0])
        known = wanted is not None and not differences(usual, configured)
        model = configured if known else {name: usual.get(name) for name in _NAMES}
    for step, numbers in by_step.items():
        for name, (found, expected) in list(differences(numbers, model).items())[:1]:
            del result.measured[step], result.identified[step]
            what = f"step {step} is of another model: its config.json says {name} {found}, the model has {expected}"
            result.failed[step] = Failure(OTHER_MODEL, what, "leave it out, or measure it as a model of its own")
    recipe = config.model.recipe
    if recipe is None:
        return Stated(model, "", tokens_per_step(source, result.measured))
    if known and (not own or _recipe_given(config, recipe)):
        return Stated(model, recipe.name, recipe.tokens_per_step)
    log.warning(
        "%s: nothing says how it was trained, so its recipe and tokens are left empty (model.recipe.name=..., "
        "with model.recipe.batch and .window, say it)",
        model_name(config.model),
    )
    return Stated(model, "", None)


def _described(name: str) -> bool:
    """Whether conf/model/ describes a model of this name."""
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
    """Whether the recipe is this model's: by its folder's training.json, or by a name that is none of conf/recipe/.

    A folder measured under another model's configuration inherits that model's recipe, which says nothing of it.
    """
    log_of_training = model_folder(config.model) / "training.json"
    try:
        said: Any = json.loads(log_of_training.read_text(encoding="utf-8"))["recipe"]
        return all(said[name] == getattr(recipe, name) for name in ("name", "batch", "window"))
    except (OSError, ValueError, KeyError, TypeError):
        return not _in_conf("recipe", recipe.name)


def _in_conf(group: str, name: str) -> bool:
    roots = (Path.cwd(), Path(__file__).parents[3])
    return any((root / "conf" / group / f"{name}.yaml").is_file() for root in roots)
