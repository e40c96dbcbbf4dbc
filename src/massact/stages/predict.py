"""stage=predict: score regressors on the pipeline's fits, and build what `massact forecast` answers from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from massact.architecture import Architecture
from massact.config import Config
from massact.stages.tables import all_fits, all_records, params_of, results
from massact.trajectories import aggregate


def run(config: Config, output: Path) -> list[str]:
    """Write metrics.json, scores.csv, predictions.csv and the forecast artefact."""
    from massact.predict import build_artefact, score_all, write_outputs

    params, wanted = params_of(config), config.predictor
    scores, predictions = score_all(
        {wanted.form: all_fits(config)[wanted.form]},
        quantities=params.quantities,
        targets=params.targets,
        regressors=wanted.regressors,
        features=wanted.features,
        include_undetermined=wanted.include_undetermined,
        folds=wanted.folds,
        seed=wanted.seed,
        progress=sys.stderr.isatty(),
    )
    write_outputs(scores, predictions, results(config))
    records, provenance = all_records(config)
    artefact = build_artefact(
        aggregate(records, config.protocol.aggregation),
        {p["model"]: Architecture(**p["architecture"]) for p in provenance},
        tokens_per_step=dict(zip(records["recipe"].unique(), _tokens_per_step(records), strict=True)),
    )
    path = Path(config.paths.artefact)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(artefact, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return [f"{results(config)}: {len(scores)} scores, {len(predictions)} predictions", f"forecast artefact: {path}"]


def _tokens_per_step(records) -> list[int]:
    late = records[records["step"] > 0]
    return [int((g["tokens"] // g["step"]).iloc[0]) for _, g in late.groupby("recipe", sort=False)]
