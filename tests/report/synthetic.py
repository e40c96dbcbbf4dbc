"""Synthetic inputs: known Eq. 9 curves of both classes, measured on ten noisy sequences at 24 checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from massact.fit.schemas import DERIVED, fits_schema
from massact.predict.schemas import PREDICTIONS, SCORES
from massact.report import ReportInputs
from massact.trajectories import QUANTITIES, RECORDS, aggregate

STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 128, *np.unique(np.geomspace(128, 2048, 16).round().astype(int))[1:]]
REGRESSORS = ("ridge", "lasso", "random_forest", "gradient_boosting", "xgboost", "mean", "nearest")
PAPER_FORMS = ("eq9", "eq14", "step1", "step2")
TARGETS = ("A", "lambda", "gamma", "t0", "K", "f_start", "f_end", "peak_value", "half_rise_step", "end_slope")


@dataclass(frozen=True)
class Shape:
    name: str
    n_layers: int
    d_model: int
    n_heads: int
    seed: int = 0


SHAPES = (Shape("tiny-a", 2, 128, 1), Shape("tiny-b", 4, 64, 4), Shape("tiny-c", 4, 128, 4), Shape("tiny-d", 6, 64, 4))


def eq9(t: np.ndarray, p: dict[str, float]) -> np.ndarray:
    x = p["gamma"] * t + p["t0"]
    return p["A"] * np.exp(-p["lambda"] * x) * np.log(x) + p["K"]


def curve_of(shape: Shape, layer: int, quantity: str) -> dict[str, float]:
    """Eq. 9's parameters: first and last layer peak early, the layers between still rise at the last step."""
    outer = layer in (0, shape.n_layers - 1)
    size = shape.d_model / 64 * (1 + layer)
    p = {"A": 4.0 * size, "lambda": 0.35, "gamma": 0.02, "t0": 1.2, "K": 6.0} if outer else {
        "A": 9.0 * size, "lambda": 0.0004, "gamma": 0.05, "t0": 1.1, "K": 5.0
    }  # fmt: skip
    scale = {"ratio": 1.0, "top1": 0.4, "median": 0.01}[quantity]
    return {**p, "A": p["A"] * scale, "K": p["K"] * scale}


@cache
def records(shapes: tuple[Shape, ...], steps: tuple[int, ...], sequences: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = []
    for shape in shapes:
        for layer in range(shape.n_layers):
            ratio = eq9(np.array(steps, dtype=float), curve_of(shape, layer, "ratio"))
            median = 0.5 + 0.1 * np.log1p(np.array(steps))
            s, q = (grid.ravel() for grid in np.meshgrid(np.arange(len(steps)), np.arange(sequences), indexing="ij"))
            top = ratio[s] * median[s] * np.exp(0.06 * rng.standard_normal(sequences))[q]
            part = pd.DataFrame({"step": np.array(steps)[s], "sequence": q, "top1": top, "median": median[s]})
            part["token1"], part["dimension1"] = 0, np.where(q < 8, 17 + layer, 40)
            parts.append(part.assign(model=shape.name, seed=shape.seed, layer=layer))
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.assign(
        family="tiny", recipe="nano", tokens=frame["step"] * 1024, probe_length=64, first_token=0,
        top2=frame["top1"] * 0.6, top3=frame["top1"] * 0.5, token2=1, token3=2, dimension2=3, dimension3=4,
    )  # fmt: skip
    return RECORDS.validate(frame)


def parameters_of(form: str, p: dict[str, float]) -> dict[str, float]:
    """The same curve in another form, or a rough step response to its end value."""
    if form == "eq9":
        return p
    if form == "eq14":
        A1 = p["A"] * np.exp(-p["lambda"] * p["t0"])
        return {
            "A1": A1, "A2": A1 * np.log(p["gamma"]), "beta": p["lambda"] * p["gamma"],
            "tau0": p["t0"] / p["gamma"], "K": p["K"],
        }  # fmt: skip
    end = float(eq9(np.array([2048.0]), p)[0])
    return {"K": end, "tau": 60.0} if form == "step1" else {"K": end, "zeta": 0.7, "omega": 0.02}


def fits_of(trajectories: pd.DataFrame, shapes: Sequence[Shape], form: str) -> pd.DataFrame:
    rows = []
    for shape in shapes:
        for layer in range(shape.n_layers):
            for quantity in QUANTITIES:
                curve = curve_of(shape, layer, quantity)
                rises = curve["lambda"] < 0.01
                grid = np.arange(0, 2049.0)
                values = eq9(grid, curve)
                peak = int(values.argmax())
                r2 = {"eq9": 0.991, "eq14": 0.991, "step1": 0.55, "step2": -0.2}[form] - 0.004 * layer
                row = {
                    "family": "tiny", "recipe": "nano", "model": shape.name, "seed": shape.seed,
                    "n_layers": shape.n_layers, "d_model": shape.d_model, "n_heads": shape.n_heads,
                    "d_mlp": 4 * shape.d_model, "context": 64, "rotary_fraction": 0.25, "rotary_base": 1e4,
                    "parallel_residual": True, "layer": layer, "quantity": quantity, "form": form,
                    "n_points": trajectories["step"].nunique(),
                    "sse": 10 * (1 - r2), "r2": r2, "aic": -100 * r2, "aicc": -99 * r2, "bic": -98 * r2,
                    "f_start": values[0], "f_end": values[-1], "peak_value": values[peak],
                    "peak_step": np.nan if peak in (0, 2048) else float(peak),
                    "half_rise_step": float((values >= (values[0] + values[peak]) / 2).argmax()),
                    "end_slope": 2048 * (values[-1] - values[-2]), "decay_share": 0.1 if rises else 0.99,
                    "regime": "log_rise" if rises else "plateau_seen", "status": "converged",
                }  # fmt: skip
                row |= {f"{name}_{bound}": np.nan for name in DERIVED for bound in ("lower", "upper")}
                row |= {"condition": 1e6 if rises else 40.0, "sloppiest": "K" if rises else "lambda"}
                row |= {"peak_determined": not rises and peak not in (0, 2048), "doubts": ""}
                for name, value in parameters_of(form, curve).items():
                    row |= {name: value, f"{name}_stderr": 0.1 * abs(value), f"{name}_determined": not rises}
                rows.append(row)
    return fits_schema(form).validate(pd.DataFrame(rows))


def predicted(
    fits: pd.DataFrame, form: str, quantity: str, targets: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(1)
    rows = fits[fits["quantity"] == quantity]
    scores, predictions = [], []
    for target in targets:
        if target not in rows:
            continue
        for at, regressor in enumerate(REGRESSORS):
            for split in ("random", "architecture"):
                actual = rows[target].to_numpy(dtype=float)
                spread = (0.3 if split == "random" else 0.9) * (1 + 0.2 * at) * (np.std(actual) + 1e-9)
                guess = actual + spread * rng.standard_normal(len(actual))
                axes = {"recipe": "nano", "form": form, "quantity": quantity, "target": target, "regressor": regressor}
                residual, total = np.sum((actual - guess) ** 2), np.sum((actual - actual.mean()) ** 2)
                r2 = 1 - residual / total if total > 1e-9 else np.nan
                scores.append({
                    **axes, "split": split, "r2": r2, "r2_transformed": r2, "mae": np.abs(actual - guess).mean(),
                    "n_train": len(rows), "n_test": len(rows), "n_architectures": rows["model"].nunique(),
                })  # fmt: skip
                predictions.append(
                    rows[["model", "seed", "layer"]].assign(**axes, split=split, actual=actual, predicted=guess)
                )
    return pd.DataFrame(scores), pd.concat(predictions, ignore_index=True)


def make_inputs(
    shapes: tuple[Shape, ...] = SHAPES,
    *,
    sequences: int = 10,
    steps: Sequence[int] = tuple(STEPS),
    slices: int = 3,
    targets: Sequence[str] = TARGETS,
) -> ReportInputs:
    """Inputs as the pipeline makes them, from synthetic measurements of these shapes."""
    measured = records(shapes, tuple(steps), sequences)
    trajectories = aggregate(measured)
    fits = {form: fits_of(trajectories, shapes, form) for form in PAPER_FORMS}
    wanted = [("eq9", "ratio"), ("eq9", "top1"), ("eq14", "ratio")][:slices]
    tables = [predicted(fits[form], form, quantity, targets) for form, quantity in wanted]
    hashes = {str(step): f"{step:064x}"[::-1] for step in steps}
    return ReportInputs(
        trajectories=trajectories,
        records=measured,
        fits=fits,
        scores=SCORES.validate(pd.concat([t[0] for t in tables])) if tables else pd.DataFrame(),
        predictions=PREDICTIONS.validate(pd.concat([t[1] for t in tables])) if tables else pd.DataFrame(),
        provenance=[
            {
                "model": shape.name, "seed": shape.seed, "source": f"data/tiny/{shape.name}-seed{shape.seed}",
                "architecture": {
                    "n_layers": shape.n_layers, "d_model": shape.d_model, "n_heads": shape.n_heads,
                    "d_mlp": 4 * shape.d_model,
                },
                "protocol_version": 1, "dtype": "float32", "probe": {"text": "corpus", "length": 64, "first_token": 0},
                "tokens_sha256": "ab" * 32, "failed": {},
                "checkpoints": {
                    step: {"revision_asked": f"step{step}", "revision_loaded": f"step{step}", "weights_sha256": found}
                    for step, found in hashes.items()
                },
            }
            for shape in shapes
        ],
        training={
            shape.name: {
                "recipe": {"name": "nano", "steps": 2048, "batch": 16, "window": 64, "learning_rate": 0.005},
                "architecture": {"n_layers": shape.n_layers},
                "log": [
                    {"step": s, "tokens": s * 1024, "loss": 2 + 200 / (50 + s), "validation_loss": 2.2 + 200 / (50 + s)}
                    for s in steps
                ],
            }
            for shape in shapes
        },
    )  # fmt: skip
