"""The stages: what each is called, what its command may choose, and everything its outputs depend on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from massact.errors import ConfigError
from massact.names import choice
from massact.registry import Registry, instance_of

KINDS = ("pipeline", "suites", "others")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage. A stage of dvc.yaml states its inputs here, and a test holds dvc.yaml to them.

    Attributes
    ----------
    name
        `stage=<name>`.
    kind
        Where `--help` lists it: one of `KINDS`; empty: nowhere.
    module
        What has `run(config, output)`: it writes the stage's tables and returns the lines to show. Empty:
        `massact.stages.<name>`.
    of_suite
        Whether it works on a suite, and messages name that instead of the model.
    swept
        The keys that the pipeline's own command chooses.
    data, params
        Files it reads (dvc.yaml's `deps` outside the package), and keys of params.yaml.
    conf
        Files below conf/, each with the keys it reads; all of them where there are none.
    code
        Modules and folders below src/massact/ that decide its numbers.
    beside
        Modules and folders that it imports and that do not decide them, beyond `FOUNDATION`.
    versioned
        A file below src/massact/ whose constants stand for the code: expensive results are recomputed for a new
        version, not for every edit.
    """

    name: str
    kind: str = "others"
    module: str = ""
    of_suite: bool = False
    swept: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    conf: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    versioned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self, config: Any, output: Path) -> list[str]:
        """Do the work; returns the lines to show."""
        return importlib.import_module(self.module or f"massact.stages.{self.name}").run(config, output)


# What no output depends on: files and messages, the configuration (its values are inputs of their own), where things
# are written, and table definitions, which refuse a table and never change one.
FOUNDATION = (
    "__init__.py", "_lazy.py", "architecture.py", "bounds.py", "checkpoints", "config.py", "disk.py", "errors.py",
    "extras.py", "folders.py", "shipped.py",
    "extract/protocol.py", "extract/reduce.py", "fit/checks.py", "fit/forms", "fit/status.py", "fit/schemas.py",
    "layers.py", "markup.py", "names.py", "params.py", "pipeline.py", "predict/schemas.py", "recipe.py", "registry.py",
    "rules.py", "seal.py", "settings.py", "space.py", "stages/places.py", "tables.py", "tracked.py", "train/members.py",
    "trajectories/__init__.py", "trajectories/rules.py", "trajectories/schemas.py",
)  # fmt: skip
# The statistic defines how sequences are aggregated.
_AGGREGATION = ("trajectories/aggregation.py", "extract/quantity.py", "extract/statistic.py", "extract/magnitudes.py")
_TABLES = "stages/swept.py"  # which rows of which tables a stage takes
_PROTOCOL = {"protocol/default.yaml": ("aggregation",)}
_MODEL = "data/extracted/${item.model}-seed${item.seed}.parquet"
_SUITE = "data/trajectories/${item.suite}.parquet"
_RESULTS = ("results/scores.csv", "results/predictions.csv")
_FORM = "fit/base/form.yaml"

_OWN = (
    Stage(name="run", kind=""),
    Stage(name="train", kind="pipeline"),
    Stage(
        name="extract",
        kind="pipeline",
        swept=("model", "model.seed"),
        data=("data/.pulled", "data/corpus/shakespeare.txt.gz", "data/pocket/${item.model}-seed${item.seed}"),
        conf={
            "model/${item.model}.yaml": (),
            "model/base/pocket.yaml": (),
            "recipe/nano.yaml": ("name", "steps", "batch", "window", "checkpoints", "vocab_size"),
            "checkpoints/all.yaml": (),
            "probe/auto.yaml": (),
            "protocol/default.yaml": ("dtype", "device"),
        },
        versioned={"extract/protocol.py": ("PROTOCOL_VERSION", "TOP_K")},
    ),
    Stage(
        name="gather",
        kind="pipeline",
        data=("data/extracted", "data/trajectories/nano.parquet"),
        params=("models", "seeds", "suites"),
        code=("stages/gather.py", _TABLES, "trajectories/schemas.py"),
    ),
    Stage(
        name="fit",
        kind="pipeline",
        swept=("model", "model.seed", "fit"),
        data=(_MODEL,),
        params=("quantities",),
        conf={"fit/${item.form}.yaml": (), _FORM: (), **_PROTOCOL},
        code=("stages/fit.py", "fit", *_AGGREGATION),
    ),
    Stage(
        name="fit_suite",
        kind="pipeline",
        of_suite=True,
        swept=("suite",),
        data=(_SUITE,),
        params=("quantities",),
        conf={"fit/eq9.yaml": (), _FORM: (), **_PROTOCOL},
        code=("stages/fit_suite.py", "stages/fit.py", _TABLES, "fit", *_AGGREGATION),
    ),
    Stage(
        name="findings",
        kind="pipeline",
        of_suite=True,
        swept=("suite",),
        data=(_SUITE, "data/fits/${item.suite}-eq9.parquet"),
        conf=_PROTOCOL,
        code=(
            "stages/findings.py",
            "stages/gather.py",
            _TABLES,
            "findings",
            "plotting.py",
            *_AGGREGATION,
        ),
    ),
    Stage(
        name="predict",
        kind="pipeline",
        data=("data/extracted", "data/fits", "data/trajectories/nano.parquet"),
        params=("models", "seeds", "forms", "quantities", "targets", "suites"),
        conf={"predictor/default.yaml": (), **_PROTOCOL},
        code=("stages/predict.py", _TABLES, "predict", *_AGGREGATION),
    ),
    Stage(
        name="report",
        kind="pipeline",
        data=("data/extracted", "data/fits", *_RESULTS),
        params=("models", "seeds", "forms"),
        conf=_PROTOCOL,
        code=("stages/report.py", _TABLES, "report", "plotting.py", "fit/forms", *_AGGREGATION),
        beside=("fit",),  # its curves are drawn from the parameters in the fits' tables
    ),
    Stage(
        name="track",
        kind="pipeline",
        data=("data/extracted", "data/fits", *_RESULTS),
        params=("models", "seeds", "forms"),
        conf={**_PROTOCOL, "tracking/mlflow.yaml": ()},
        code=(
            "stages/track.py",
            _TABLES,
            "predict/tracking.py",
            "mlflow_runs.py",
            "mlflow_store.py",
            *_AGGREGATION,
        ),
        beside=("stages/track_figures.py", "report", "plotting.py", "fit"),  # figures are in MLflow alone
    ),
    Stage(name="suite", kind="suites", of_suite=True),
    Stage(name="verify", kind="suites", of_suite=True),
    Stage(name="measure"),
    Stage(name="audit"),
    Stage(name="ledger"),
    Stage(name="published"),
)
STAGES: Registry[Stage] = Registry("stage", "massact.stages", _OWN, instance_of(Stage), ConfigError)
register = STAGES.register


def stage_named(name: str) -> Stage:
    """The stage of that name.

    Raises
    ------
    ConfigError
        The name is unknown. The message suggests the nearest ones.
    """
    choice("stage", name, STAGES)
    return STAGES[name]


def help_text() -> str:
    """The registered stages, one line per kind."""
    names = {kind: " ".join(stage.name for stage in STAGES.registered if stage.kind == kind) for kind in KINDS}
    return "\n".join(f"  {kind + ':':<10} {listed}" for kind, listed in names.items())
