"""Schemas of the predictor's tables: scores and out-of-sample predictions."""

from __future__ import annotations

from massact.tables import Column, Schema

SPLITS = ("random", "architecture")

SCORES = Schema(
    "scores",
    {
        "recipe": Column("string", "recipe pooled in this score"),
        "form": Column("string", "fitted form the targets come from"),
        "quantity": Column("string", "ratio, top1 or median"),
        "target": Column("string", "fit parameter or derived quantity predicted"),
        "regressor": Column("string", "ridge, lasso, random_forest, gradient_boosting, xgboost, mean or nearest"),
        "split": Column("string", "random (the paper's) or architecture (whole architectures held out)"),
        "r2": Column("float64", "on the original scale, out of sample", nan=True),
        "r2_transformed": Column("float64", "on the target's transformed scale, out of sample", nan=True),
        "mae": Column("float64", "mean absolute error, original scale", nan=True),
        "n_train": Column("int32", "rows trained on (largest over folds)"),
        "n_test": Column("int32", "rows scored"),
        "n_architectures": Column("int32", "distinct architectures in the data"),
    },
    key=("recipe", "form", "quantity", "target", "regressor", "split"),
)

PREDICTIONS = Schema(
    "predictions",
    {
        "recipe": Column("string", "recipe pooled"),
        "form": Column("string", "fitted form"),
        "quantity": Column("string", "ratio, top1 or median"),
        "target": Column("string", "what is predicted"),
        "regressor": Column("string", "regressor or baseline"),
        "split": Column("string", "random or architecture"),
        "model": Column("string", "model of the row"),
        "seed": Column("int64", "training seed"),
        "layer": Column("int32", "0-based block"),
        "actual": Column("float64", "fitted value, original scale"),
        "predicted": Column("float64", "out-of-sample prediction, original scale"),
    },
    key=("recipe", "form", "quantity", "target", "regressor", "split", "model", "seed", "layer"),
)
