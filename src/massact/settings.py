"""A composed configuration, checked: what a job may do, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from massact import names
from massact.architecture import Architecture
from massact.bounds import check_bounds
from massact.checkpoints.pythia import PYTHIA_STEPS, repo_id
from massact.checkpoints.select import check_rule, select_steps
from massact.config import Config, ModelConfig
from massact.errors import ConfigError
from massact.extract.options import MAGNITUDES
from massact.layers import check_layers, layers_named
from massact.pipeline import stage_named
from massact.predict.regressors import regressor_named
from massact.recipe import Recipe, checkpoint_steps

DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
SOURCES = ("pythia", "hub", "folder")
CHOICES = ("seed", "size", "corpus", "variant", "repository")
TEXTS = ("auto", "corpus", "redpajama", "random")
TEXT_FILES = (".txt", ".npy")
FEATURES = ("both", "paper", "raw")


def settings(composed: DictConfig) -> Config:
    """The typed configuration, with every value checked.

    Raises
    ------
    ConfigError
        One line saying which value cannot be meant and what the nearest valid ones are.
    """
    from massact.fit.forms import FORMS  # these load numpy, which help and completion must not
    from massact.trajectories.schemas import AGGREGATIONS

    try:
        check_bounds(OmegaConf.to_container(composed, resolve=True))
        config = cast(Config, OmegaConf.to_object(composed))
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split("\n")[:1]), "see docs/configuration.md") from None
    stage_named(config.stage)
    names.choice("fit.form", config.fit.form, FORMS)
    names.choice("predictor.form", config.predictor.form, FORMS)
    names.choice("protocol.dtype", config.protocol.dtype, DTYPES)
    names.choice("protocol.device", config.protocol.device, DEVICES)
    names.choice("protocol.aggregation", config.protocol.aggregation, AGGREGATIONS)
    if Path(config.probe.text).suffix not in TEXT_FILES:
        names.choice("probe.text", config.probe.text, TEXTS)
    names.choice("predictor.features", config.predictor.features, FEATURES)
    for regressor in config.predictor.regressors:
        regressor_named(str(regressor))
    _statistics(config)
    _layers(config)
    _names(config)
    _probe(config)
    if steps_are_listed(config.model):
        check_rule(**_rule(config))
    else:
        steps_of(config)
    repository_of(config.model)
    check_suite(config.model)
    if config.stage == "train":
        check_trained_here(config.model.recipe, config.model.name)
    return config


def steps_are_listed(model: ModelConfig) -> bool:
    """Whether only its source knows a model's steps: the branches of a repository, the folders of a training."""
    return model.source == "hub" or model.recipe is None


def check_trained_here(recipe: Recipe | None, name: str) -> None:
    """Refuse the recipe of a model or suite that is trained elsewhere.

    Raises
    ------
    ConfigError
        Naming the model.
    """
    if recipe is None or recipe.optimiser is None or recipe.vocab_size is None:
        raise ConfigError(f"{name} is trained elsewhere", "choose a model of a trained family, e.g. pocket-a")


def described(model: ModelConfig) -> tuple[Architecture, Recipe]:
    """Architecture and recipe of a model whose configuration states both.

    Raises
    ------
    ConfigError
        A model that only its checkpoints describe.
    """
    if model.architecture is None or model.recipe is None:
        raise ConfigError(
            f"{model.name} is described only by its checkpoints", "choose a model that conf/model/ describes"
        )
    return model.architecture, model.recipe


def available_steps(model: ModelConfig) -> list[int]:
    """Every step the model should have a checkpoint of, where the configuration says so (not `steps_are_listed`)."""
    if model.source == "pythia":
        return list(PYTHIA_STEPS)
    recipe = described(model)[1]
    return checkpoint_steps(recipe.steps, recipe.checkpoints)


def steps_of(config: Config) -> list[int]:
    """The steps this configuration asks for, of those the model should have."""
    return steps_among(available_steps(config.model), config)


def steps_among(available: Sequence[int], config: Config) -> list[int]:
    """The steps this configuration asks for, of those that exist."""
    return select_steps(available, **_rule(config), model=config.model.name)


def repository_of(model: ModelConfig) -> str | None:
    """The Hub repository of a Pythia model or a suite, None for a local folder."""
    names.choice("model.source", model.source, SOURCES)
    if model.source != "pythia" and model.deduped:
        raise ConfigError(f"{model.name} has no deduplicated variant", "drop model.deduped")
    if model.source == "folder":
        return None
    if model.source == "hub":
        names.repository(model.repository, "model.repository")
        if model.seed and "seed" not in (model.choices or {}):
            raise ConfigError(f"{model.name} has no seeds", "drop model.seed")
        return str(model.repository)
    return repo_id(model.size or "", deduped=model.deduped, seed=model.seed or None)


def model_name(model: ModelConfig) -> str:
    """Name in tables and files: a deduplicated variant, and each kind of a suite's branches, is a model of its own."""
    if model.source == "hub" and model.repository:
        name = model.repository.rpartition("/")[2].lower().removesuffix(f"-seed{model.seed}")
        return "-".join(filter(None, [name, model.variant]))
    return f"{model.name}-deduped" if model.deduped else model.name


def model_folder(model: ModelConfig) -> Path:
    """Folder of a trained model's checkpoints."""
    return Path(model.folder or "")


def table_stem(model: ModelConfig) -> str:
    """File name of the model's tables, without ending; seed 0 is the standard release."""
    return f"{model_name(model)}-seed{model.seed}"


def check_suite(model: ModelConfig) -> None:
    """Check how a suite's checkpoints are named, and which of its models is chosen.

    Raises
    ------
    ConfigError
        Names the key.
    """
    for key, allowed in (model.choices or {}).items():
        names.choice("a key of model.choices", key, CHOICES)
        value = getattr(model, key)
        if value not in allowed and not (key == "variant" and value is None):
            shown = ", ".join(map(str, allowed))
            raise ConfigError(f"model.{key} = {value} is not published", f"choose one of {shown}")
    naming = model.naming
    if naming is None:
        return
    naming.check()
    if model.source == "pythia" or (naming.refs == "folders") != (model.source == "folder"):
        raise ConfigError(
            f"model.naming.refs = {naming.refs} does not go with model.source = {model.source}",
            "folders are of source folder, all others of source hub",
        )
    for part in naming.parts:
        names.repository(part, "model.naming.parts")
    if naming.axis != "step" and model.recipe is not None:
        raise ConfigError(f"model.recipe counts steps, {model.name} counts {naming.axis}", "set model.recipe=null")


def _rule(config: Config) -> dict[str, Any]:
    selection = config.checkpoints
    return {"rule": selection.rule, "count": selection.count, "steps": selection.steps}


def _probe(config: Config) -> None:
    architecture, probe = config.model.architecture, config.model.probe
    if architecture is None or probe is None:
        return
    context = architecture.context
    length = config.probe.length if config.probe.length is not None else probe.length
    if not 2 <= length <= context:
        raise ConfigError(f"probe.length = {length} does not fit {config.model.name}", f"give 2 to {context} tokens")


def _statistics(config: Config) -> None:
    from massact.extract.registered import STATISTICS

    statistics = config.extract.statistics
    for name in statistics:
        if name not in STATISTICS:  # the list of all names loads other packages
            names.choice("extract.statistics", name, STATISTICS)
        if statistics.count(name) > 1:
            raise ConfigError(f"extract.statistics names {name} twice", "name each statistic once")
    if not statistics:
        raise ConfigError("extract.statistics = []", f"name at least one, e.g. [{MAGNITUDES}]")
    if config.stage == "run" and MAGNITUDES not in statistics:
        remedy = f"add {MAGNITUDES}, or use stage=extract"
        raise ConfigError(f"extract.statistics leaves out {MAGNITUDES}, which stage=run fits", remedy)


def _layers(config: Config) -> None:
    layers, architecture = config.extract.layers, config.model.architecture
    if layers is not None:
        check_layers(layers)
        if architecture is not None:
            layers_named(layers, architecture.n_layers)


def _names(config: Config) -> None:
    """Refuse names of files that are not a safe path component, and invalid paths."""
    model, suite = config.model, config.suite
    plain = {
        "model.name": model.name,
        "model.family": model.family,
        **({"model.recipe.name": model.recipe.name} if model.recipe is not None else {}),
        "suite.name": suite.name,
        "suite.recipe.name": suite.recipe.name,
        "tracking.experiment": config.tracking.experiment,
    }
    for key, name in plain.items():
        names.component(name, key)
    for name in suite.ladders or {}:
        names.component(name, "a name in suite.ladders")
    if model.variant is not None:
        names.component(model.variant, "model.variant")
    names.component(table_stem(model), "name of the model's tables")
    for key, name in {"published.dataset": config.published.dataset, "probe.dataset": config.probe.dataset}.items():
        names.repository(name, key)
    names.revision(config.published.commit, "published.commit")
    names.revision(config.probe.dataset_revision, "probe.dataset_revision")
    if model.source == "folder":
        _place("model.folder", model.folder, named=True)
    for key, place in {
        **{f"paths.{k}": v for k, v in vars(config.paths).items()},
        "probe.corpus": config.probe.corpus,
    }.items():
        _place(key, place)
    if config.published.folder is not None:
        _place("published.folder", config.published.folder)


def _place(key: str, place: str | None, *, named: bool = False) -> None:
    """Refuse a path that cannot be one: empty, with control characters; `named`: one without a last name, as `..`."""
    parts = Path(place or "").parts
    if not place or any(ord(letter) < 32 or ord(letter) == 127 for letter in place):
        raise ConfigError(f"{key} = {place!a} is not a path", "give the path of a folder or file")
    if any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
        raise ConfigError(f"{key} has a part of more than 255 bytes", "give a shorter path")
    if named and (not parts or parts[-1] in ("..", "/")):
        raise ConfigError(f"{key} = {place!a} is not a folder that may be replaced", "name the folder itself")
