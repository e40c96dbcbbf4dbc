"""Read the tables of all models that the pipeline sweeps."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from massact.config import Config
from massact.disk import input_bytes
from massact.errors import ParseError, TableError
from massact.fit.forms import FORMS
from massact.fit.schemas import fits_schema
from massact.params import Params, load_params
from massact.predict.schemas import PREDICTIONS, SCORES
from massact.stages.places import chosen_model
from massact.tables import Schema, read_metadata, read_table
from massact.tracked import warn_unless_recorded
from massact.train.members import GRID
from massact.trajectories import RECORDS

# The metadata of a records table that later stages need.
_PROVENANCE = ("model", "seed", "source", "architecture", "tokens_per_step", "checkpoints")


def params_of(config: Config) -> Params:
    """params.yaml."""
    return load_params(Path(config.paths.params))


def stems(params: Params) -> list[str]:
    """File stems of every (model, seed)."""
    return [f"{model}-seed{seed}" for model in params.models for seed in params.seeds]


def selected_stems(config: Config) -> list[str]:
    """The stem of the model that the command line chooses; otherwise the stems of all models in params.yaml."""
    chosen = chosen_model(config)
    return stems(params_of(config)) if chosen is None else [chosen]


def record_paths(config: Config) -> list[Path]:
    """The tables of records of the model that the command line chooses, otherwise of all models in params.yaml."""
    return [Path(config.paths.extracted) / f"{stem}.parquet" for stem in selected_stems(config)]


def remedy_for_records(config: Config) -> str:
    """The command that makes the tables of `record_paths`."""
    chosen = chosen_model(config)
    if chosen is None:
        return "create it with: dvc repro"
    return f"create it with: python run.py stage=extract model={chosen.rpartition('-seed')[0]}"


def all_records(config: Config) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The records and the provenance of `record_paths`."""
    paths = record_paths(config)
    return read_tables(paths, RECORDS, remedy_for_records(config)), provenance_of(paths)


def read_tables(paths: Sequence[Path], schema: Schema, remedy: str | None = None) -> pd.DataFrame:
    """Tables of one schema as one."""
    options = {} if remedy is None else {"remedy": remedy}
    return pd.concat([read_table(path, schema, **options) for path in paths], ignore_index=True)


def provenance_of(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The metadata of tables of records that later stages need."""
    return [read_metadata(path, _PROVENANCE) for path in paths]


def suspects_of(provenance: list[dict[str, Any]]) -> list[str]:
    """Suspect and failed checkpoints in the tables' metadata, one line each."""
    lines = []
    for entry in provenance:
        reasons = {**entry.get("failed", {}), **entry.get("suspects", {})}
        for step, why in sorted(reasons.items(), key=lambda item: int(item[0])):
            left_out = "" if step in entry["checkpoints"] else " (not measured)"
            lines.append(f"{entry['model']} step {step}: {why}{left_out}")
    return lines


def suite_records(config: Config, name: str, part: str | None = None) -> pd.DataFrame:
    """Records of a suite's trainings, or of one part of its design."""
    path = _suite_path(config, name)
    records = read_table(path, RECORDS, remedy="fetch it with: dvc pull -R data")
    return records if part is None else _of_part(config, name, records, part)


def suite_members(config: Config, name: str) -> list[dict[str, Any]]:
    """The metadata of each training in a suite's table."""
    return read_metadata(_suite_path(config, name), ["members"])["members"]


def suite_fits(config: Config, name: str, form: str) -> pd.DataFrame:
    """Fits of a suite's design. Ladders are left out: their rungs are too alike to score predictions on."""
    path = suite_fits_path(config, name, form)
    return _of_part(config, name, read_table(path, fits_schema(form)), GRID)


def suite_fits_path(config: Config, name: str, form: str) -> Path:
    """The file of a suite's fits."""
    return Path(config.paths.fits) / f"{name}-{form}.parquet"


def _suite_path(config: Config, name: str) -> Path:
    return Path(config.paths.trajectories) / f"{name}.parquet"


def _of_part(config: Config, name: str, table: pd.DataFrame, part: str) -> pd.DataFrame:
    models = {member["model"] for member in suite_members(config, name) if member["part"] == part}
    kept: Any = table[table["model"].isin(list(models))]
    return kept.reset_index(drop=True)


def fit_paths(config: Config) -> dict[str, list[Path]]:
    """The tables of fits of all models, by form. If the command line chooses a model, those of it that exist."""
    folder, chosen, params = Path(config.paths.fits), chosen_model(config), params_of(config)
    if chosen is not None:
        return fit_paths_in(folder, [chosen])
    return {form: [folder / f"{stem}-{form}.parquet" for stem in stems(params)] for form in params.forms}


def fit_paths_in(folder: Path, stems: Sequence[str]) -> dict[str, list[Path]]:
    """The tables of fits that a folder has of these models, by form."""
    paths = {form: [folder / f"{stem}-{form}.parquet" for stem in stems] for form in FORMS}
    present = {form: [path for path in of_form if path.is_file()] for form, of_form in paths.items()}
    return {form: of_form for form, of_form in present.items() if of_form}


def all_fits(config: Config) -> dict[str, pd.DataFrame]:
    """The fits of `fit_paths`, by form."""
    return {form: read_tables(paths, fits_schema(form)) for form, paths in fit_paths(config).items()}


def results(config: Config) -> Path:
    """The folder of the pipeline's results."""
    return Path(config.paths.results)


def read_csv(path: Path, schema: Schema) -> pd.DataFrame:
    """A CSV of the pipeline, validated.

    Raises
    ------
    MissingInputError, TableError
        When the file is missing or unreadable; when it is not CSV or not of this schema.
    """
    content = input_bytes(path, "create it with: dvc repro")
    warn_unless_recorded(path)  # a CSV file has no seal
    try:
        frame = pd.read_csv(io.BytesIO(content), keep_default_na=True)
    except ValueError as error:  # the parser's errors and those of UTF-8 are ValueErrors
        why = " ".join(str(error).split())
        raise TableError(f"{path} is not a CSV ({why})", "recreate it with: dvc repro -f predict") from None
    return schema.validate(frame, str(path))


def training_log(path: Path) -> dict[str, Any]:
    """The content of `training.json` beside shipped checkpoints.

    Raises
    ------
    MissingInputError, ParseError
        When the file is missing or unreadable; when it is not a JSON object with a log.
    """
    bring = "fetch it with: dvc pull -R data"
    content = input_bytes(path, bring)
    try:
        training = json.loads(content)
    except (ValueError, RecursionError):
        training = None
    if not isinstance(training, dict) or not isinstance(training.get("log"), list):
        raise ParseError(f"{path} is not the log of a training", bring)
    return training


def scores_and_predictions(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that stage=predict wrote."""
    folder = results(config)
    return read_csv(folder / "scores.csv", SCORES), read_csv(folder / "predictions.csv", PREDICTIONS)


def own_scores_and_predictions(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `scores_and_predictions`; empty tables if there are none about the models of this run."""
    folder, models = results(config), {stem.rpartition("-seed")[0] for stem in selected_stems(config)}
    nothing = pd.DataFrame(columns=list(SCORES.columns)), pd.DataFrame(columns=list(PREDICTIONS.columns))
    if not (folder / "scores.csv").is_file() or not (folder / "predictions.csv").is_file():
        return nothing
    scores, predictions = scores_and_predictions(config)
    about: Any = predictions[predictions["model"].isin(list(models))]
    return (scores, about) if len(about) else nothing
