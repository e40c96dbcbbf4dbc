"""stage=predict: score regressors on the pipeline's fits, and build the artefact that `massact forecast` reads."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from massact.architecture import Architecture
from massact.config import Config
from massact.disk import file_target, write_text
from massact.errors import MissingInputError
from massact.stages.places import is_own, place
from massact.stages.swept import (
    all_fits,
    all_records,
    params_of,
    suite_fits,
    suite_members,
    suite_records,
)
from massact.trajectories import aggregate


def run(config: Config, output: Path) -> list[str]:
    """Write metrics.json, scores.csv, predictions.csv and the forecast artefact."""
    from massact.predict import build_artefact, score_all, write_outputs
    from massact.predict.options import check_regressors

    check_regressors(config.predictor.regressors, config.predictor.seed)
    params, predictor = params_of(config), config.predictor
    folder = place(config, "results", output)
    path = file_target(place(config, "artefact", output), lambda head: b'"recipes"' in head or b'"features"' in head)
    of_models = all_fits(config)
    if predictor.form not in of_models:
        raise MissingInputError(
            f"no fits of {predictor.form} in {config.paths.fits}",
            f"create them with: python run.py stage=fit fit={predictor.form}",
        )
    fits = [of_models[predictor.form], *(suite_fits(config, name, predictor.form) for name in params.suites)]
    scores, predictions = score_all(
        {predictor.form: pd.concat(fits, ignore_index=True)},
        quantities=params.quantities,
        targets=params.targets,
        regressors=predictor.regressors,
        features=predictor.features,
        include_undetermined=predictor.include_undetermined,
        folds=predictor.folds,
        seed=predictor.seed,
        progress=sys.stderr.isatty(),
    )
    write_outputs(scores, predictions, folder)
    records, provenance = all_records(config)
    architectures = {p["model"]: p["architecture"] for p in provenance}
    tables = [records]
    for name in params.suites:
        tables.append(suite_records(config, name))
        architectures |= {member["model"]: member["architecture"] for member in suite_members(config, name)}
    artefact = build_artefact(
        pd.concat([aggregate(table, config.protocol.aggregation) for table in tables], ignore_index=True),
        {model: Architecture(**numbers) for model, numbers in architectures.items()},
        tokens_per_step={recipe: count for table in tables for recipe, count in _tokens_per_step(table)},
        anchors=predictor.forecast.anchors,
        rank=predictor.forecast.rank,
    )
    write_text(path, json.dumps(artefact, indent=1, sort_keys=True) + "\n")
    lines = [f"{folder}: {len(scores)} scores, {len(predictions)} predictions", f"forecast artefact: {path}"]
    if is_own(config):
        recipe = next(iter(artefact["recipes"]))
        numbers = "n_layers=4 d_model=128 n_heads=4 d_mlp=512"
        lines.append(f"use it with: massact forecast --artefact {shlex.quote(str(path))} --recipe {recipe} {numbers}")
    return lines


def _tokens_per_step(records: pd.DataFrame) -> Iterator[tuple[str, int]]:
    late: Any = records[records["step"] > 0]
    for recipe, rows in late.groupby("recipe", sort=False):
        yield str(recipe), int((rows["tokens"] // rows["step"]).iloc[0])
