"""What a configuration may hold: types only. Values are written in conf/, what the pipeline sweeps in params.yaml.

Where the package has a class for a thing - `Architecture`, `Recipe`, `SweepOptions`, `DesignSpace` - that class is the
configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from massact.architecture import Architecture
from massact.checkpoints.naming import Naming
from massact.extract.options import MAGNITUDES, SweepOptions
from massact.recipe import Optimiser, Recipe
from massact.space import DesignSpace

for _frozen in (Architecture, DesignSpace, Naming, Optimiser, Recipe, SweepOptions):
    # OmegaConf makes read-only nodes of frozen classes, and a composition is written to. Their objects stay frozen.
    _frozen.__dataclass_params__.frozen = False  # type: ignore[attr-defined]


@dataclass
class ModelProbeConfig:
    """Length (tokens) and first token id (null: none) of the model's probe sequences."""

    length: int = MISSING
    first_token: int | None = MISSING


@dataclass
class ModelConfig:
    """One model: where its checkpoints are and what it is."""

    name: str = MISSING
    family: str = MISSING
    source: str = MISSING  # folder, pythia, or hub (checkpoints in `repository`)
    size: str | None = MISSING  # of a suite with several, e.g. 70m
    corpus: str | None = None  # of a suite with several, e.g. c4
    deduped: bool = MISSING
    seed: int = MISSING  # 0: the standard release
    folder: str | None = MISSING
    repository: str | None = None  # of a suite, e.g. allenai/OLMo-1B-hf
    variant: str | None = None  # of a suite's branches, e.g. stage1; null: the one with most checkpoints
    naming: Naming | None = None  # where its checkpoints are and how they are named; null: as names usually are
    choices: dict[str, list[Any]] | None = None  # published values of seed, size, corpus, variant and repository
    kind: str | None = None  # its class in transformers (`model_type`), for docs/suites.md
    trust_remote_code: bool = False  # whether code in a checkpoint may run
    architecture: Architecture | None = MISSING  # null: that of config.json
    probe: ModelProbeConfig | None = field(default_factory=ModelProbeConfig)  # null: the tokenizer's own rule
    recipe: Recipe | None = MISSING  # null: unknown


@dataclass
class CheckpointsConfig:
    """Which steps: `rule` is all, spaced, log or list; `count` for spaced and log, `steps` for list.

    `suspects`: whether to measure checkpoints with another step's weights.
    """

    rule: str = MISSING
    count: int | None = MISSING
    steps: list[int] | None = MISSING
    suspects: bool = MISSING


@dataclass
class ProbeConfig:
    """Which text is read, how many sequences of it; `length` null means the model's.

    `text`: auto, corpus, redpajama, random (token ids), or a file: a text (.txt) or token ids (.npy).
    """

    text: str = MISSING
    sequences: int = MISSING
    length: int | None = MISSING
    corpus: str = MISSING
    held_out_works: int = MISSING
    dataset: str = MISSING
    dataset_revision: str = MISSING
    documents: int = MISSING
    document_seed: int = MISSING


@dataclass
class ProtocolConfig:
    """Number format of the forward pass, device, and how sequences are aggregated."""

    dtype: str = MISSING
    device: str = MISSING
    aggregation: str = MISSING


@dataclass
class ExtractConfig:
    """Names of the statistics that are measured, and the layers in their tables (null: all), e.g. `0,3-5,last`."""

    statistics: list[str] = MISSING
    layers: str | None = MISSING


@dataclass
class FitConfig:
    """Which form is fitted to every series, whether suspect checkpoints count, and resamples for intervals."""

    form: str = MISSING
    suspects: bool = MISSING
    resamples: int = MISSING


@dataclass
class ForecastConfig:
    """How `massact forecast` is learnt: at how many steps, and with how many components of the basis of curves."""

    anchors: int = MISSING
    rank: int = MISSING


@dataclass
class PredictorConfig:
    """The form whose fits are predicted, features, regressors (name -> hyperparameters) and the random split."""

    form: str = MISSING
    features: str = MISSING
    include_undetermined: bool = MISSING
    folds: int = MISSING
    seed: int = MISSING
    regressors: dict[str, Any] = MISSING
    forecast: ForecastConfig = field(default_factory=ForecastConfig)


@dataclass
class TrackingConfig:
    """MLflow store; `enabled: false` logs nothing."""

    enabled: bool = MISSING
    uri: str = MISSING
    experiment: str = MISSING


@dataclass
class TrainConfig:
    """Threads of a training run (part of what makes it repeat bit for bit)."""

    threads: int = MISSING


@dataclass
class LadderConfig:
    """One architecture, and the head counts it is trained with."""

    n_layers: int = MISSING
    d_model: int = MISSING
    d_mlp: int = MISSING
    rotary_fraction: float = MISSING
    parallel_residual: bool = MISSING
    n_heads: list[int] = MISSING


@dataclass
class SuiteConfig:
    """A designed suite: how many architectures of which space, which are trained with several seeds, and how.

    `measured`: steps measured in each training. `only`: names of members to train, or to verify; empty: all.
    `worker` numbers the processes of a multirun that share the work.
    """

    name: str = MISSING
    architectures: int = MISSING
    seed: int = MISSING
    replicated: list[int] = MISSING
    replicates: int = MISSING
    measured: int = MISSING
    space: DesignSpace = MISSING
    ladders: dict[str, LadderConfig] | None = MISSING
    recipe: Recipe = MISSING
    only: list[str] = MISSING
    worker: int = MISSING


@dataclass
class PublishedConfig:
    """The published measurements: a dataset at a commit (or a local `folder`), sequences every file must have."""

    dataset: str = MISSING
    commit: str = MISSING
    folder: str | None = MISSING
    sequences: int = MISSING


@dataclass
class LedgerConfig:
    """Which suites stage=ledger audits (null: all), and the largest share of their weights' bytes that it reads."""

    only: list[str] | None = MISSING
    share: float = MISSING


@dataclass
class PathsConfig:
    """Folders and files, relative to the project."""

    params: str = MISSING
    runs: str = MISSING
    records: str = MISSING
    extracted: str = MISSING
    published: str = MISSING
    fits: str = MISSING
    trajectories: str = MISSING
    results: str = MISSING
    artefact: str = MISSING


@dataclass
class Config:
    """One composition."""

    stage: str = MISSING
    model: ModelConfig = field(default_factory=ModelConfig)
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    sweep: SweepOptions = MISSING
    fit: FitConfig = field(default_factory=FitConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


def register() -> None:
    """Make `Config` known to Hydra as `base_config`, and the lists of stages and statistics to its help."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from massact.pipeline import help_text

    OmegaConf.register_new_resolver("massact_stages", help_text, replace=True)
    OmegaConf.register_new_resolver("massact_folder_name", _folder_name, replace=True)
    OmegaConf.register_new_resolver("massact_statistics", _statistics_help, replace=True)
    ConfigStore.instance().store(name="base_config", node=Config)


def _statistics_help() -> str:
    """The names of the statistics, those of other packages as their entry points state them. Loads none of them."""
    from importlib.metadata import entry_points

    return f"  {' '.join([MAGNITUDES, *entry_points(group='massact.statistics').names])}"


def _folder_name(path: str) -> str:
    """A model's name from the path of its folder."""
    from pathlib import Path

    from massact.names import slug

    return slug(Path(path).resolve().name)
