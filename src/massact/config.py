"""What a configuration may hold: types only. Values are written in conf/, what the pipeline sweeps in params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ArchitectureConfig:
    """The numbers of `massact.Architecture`."""

    n_layers: int = MISSING
    d_model: int = MISSING
    n_heads: int = MISSING
    d_mlp: int = MISSING
    vocab_size: int = MISSING
    context: int = MISSING
    rotary_fraction: float = MISSING
    rotary_base: float = MISSING
    parallel_residual: bool = MISSING


@dataclass
class OptimiserConfig:
    """AdamW and its schedule, as in `massact.recipe.Recipe`."""

    learning_rate: float = MISSING
    warmup: int = MISSING
    final_fraction: float = MISSING
    weight_decay: float = MISSING
    beta1: float = MISSING
    beta2: float = MISSING
    epsilon: float = MISSING
    clip: float = MISSING


@dataclass
class RecipeConfig:
    """How a family was trained; `optimiser` and `vocab_size` are null for families trained elsewhere.

    `first_token`: the id every training window begins with, null for none.
    """

    name: str = MISSING
    steps: int = MISSING
    batch: int = MISSING
    window: int = MISSING
    checkpoints: int = MISSING
    first_token: int | None = None
    vocab_size: int | None = MISSING
    optimiser: OptimiserConfig | None = MISSING


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
    source: str = MISSING  # hub (Pythia), suite (branches of `repository`) or folder
    size: str | None = MISSING  # of a Pythia model, e.g. 70m
    deduped: bool = MISSING
    seed: int = MISSING  # 0: the standard release
    folder: str | None = MISSING
    repository: str | None = None  # of a suite, e.g. allenai/OLMo-1B-hf
    variant: str | None = None  # of a suite's branches, e.g. stage1; null: the one with most checkpoints
    trust_remote_code: bool = False  # whether code that a checkpoint brings with it may be run
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    probe: ModelProbeConfig = field(default_factory=ModelProbeConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)


@dataclass
class CheckpointsConfig:
    """Which steps: `rule` is all, spaced, log or list; `count` for spaced and log, `steps` for list.

    `suspects`: whether to measure checkpoints whose weights are not their own.
    """

    rule: str = MISSING
    count: int | None = MISSING
    steps: list[int] | None = MISSING
    suspects: bool = MISSING


@dataclass
class ProbeConfig:
    """Which text is read: auto, corpus or redpajama; how many sequences of it; `length` null means the model's."""

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
class SweepConfig:
    """How checkpoints are fetched and worked through (`massact.extract.sweep.SweepOptions`); changes no number."""

    prefetch: int = MISSING
    disk_gb: float | None = MISSING
    keep_downloads: bool = MISSING
    sequences_at_once: int | None = MISSING
    patience_s: float = MISSING
    bandwidth_mb_s: float = MISSING


@dataclass
class FitConfig:
    """Which form is fitted to every series, whether suspect checkpoints count, and resamples for intervals."""

    form: str = MISSING
    suspects: bool = MISSING
    resamples: int = MISSING


@dataclass
class ForecastConfig:
    """How `massact forecast` is learnt: at how many steps, and with which ridge penalty on standardised features."""

    anchors: int = MISSING
    penalty: float = MISSING


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
class SpaceConfig:
    """The ranges and choices of `massact.train.design.DesignSpace`."""

    layers: list[int] = MISSING
    width: list[int] = MISSING
    width_multiple: int = MISSING
    heads: list[int] = MISSING
    mlp_ratio: list[float] = MISSING
    rotary_fractions: list[float] = MISSING
    parallel_residual: list[bool] = MISSING


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
    space: SpaceConfig = field(default_factory=SpaceConfig)
    ladders: dict[str, LadderConfig] | None = MISSING
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
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
    sweep: SweepConfig = field(default_factory=SweepConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


def register() -> None:
    """Make `Config` known to Hydra as `base_config`, and the list of stages to its help."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from massact.pipeline import help_text

    OmegaConf.register_new_resolver("massact_stages", help_text, replace=True)
    ConfigStore.instance().store(name="base_config", node=Config)
