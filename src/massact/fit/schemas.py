"""Schema of curve fits: one row per (model, seed, layer, quantity), one file per model and form."""

from __future__ import annotations

from massact.tables import Column, Schema
from massact.trajectories.schemas import ARCHITECTURES, AXES, HEAD

MEANINGS = {
    "f_start": "curve at the first step",
    "f_end": "curve at the last step",
    "peak_value": "largest value of the curve in the trained range",
    "peak_step": "step of an interior maximum, NaN when there is none in range",
    "half_rise_step": "first step at half the rise from start to largest value",
    "end_slope": "df / d(ln t) at the last step",
    "decay_share": "share of the decay completed, 1 - exp(-b T)",
}
DERIVED = tuple(MEANINGS)
ARCHITECTURE = {
    **{name: ARCHITECTURES.columns[name] for name in ("n_layers", "d_model", "n_heads", "d_mlp")},
    "context": Column("int32", "training window, tokens; null if unknown", null=True),
    **{name: ARCHITECTURES.columns[name] for name in ("rotary_fraction", "rotary_base", "parallel_residual")},
}


def fits_schema(form: str, *, per_head: bool = False) -> Schema:
    """The schema of a table of fits of one form, a key of `FORMS`; `per_head` if a series belongs to one head."""
    from massact.fit.forms import FORMS

    head = HEAD if per_head else {}
    parameters: dict[str, Column] = {}
    for name in FORMS[form].parameters:
        parameters[name] = Column("float64", f"parameter {name} of {form}, t in steps", nan=True)
        parameters[f"{name}_stderr"] = Column("float64", f"standard error of {name}, NaN where unknown", nan=True)
        parameters[f"{name}_determined"] = Column("bool", f"whether {name} may be quoted")
    return Schema(
        f"fits of {form} by head" if per_head else f"fits of {form}",
        {
            **{name: AXES[name] for name in ("family", "recipe", "model", "seed")},
            **ARCHITECTURE,
            "layer": AXES["layer"],
            **head,
            "quantity": Column("string", "what is fitted: ratio, top1 or median, or another statistic's quantity"),
            "form": Column("string", "fitted form"),
            "n_points": Column("int32", "checkpoints fitted"),
            **parameters,
            "sse": Column("float64", "sum of squared residuals", nan=True),
            "r2": Column("float64", "1 - sse / total sum of squares", nan=True),
            "aic": Column("float64", "n log(sse/n) + 2k", nan=True),
            "aicc": Column("float64", "AIC with the small-sample term, NaN when n <= k + 1", nan=True),
            "bic": Column("float64", "n log(sse/n) + k log n", nan=True),
            **_derived_columns(),
            "condition": Column("float64", "condition number of the scaled Jacobian", nan=True),
            "peak_determined": Column("bool", "whether the interior peak may be quoted"),
            "sloppiest": Column("string", "parameters that change together while the curve hardly does"),
            "regime": Column("string", "plateau_seen, peak_without_plateau, log_rise, disputed, flat or failed"),
            "doubts": Column("string", "why a plateau or a peak of the curve is not quoted, empty where it may be"),
            "status": Column("string", "how the fit ended, with the remedy where there is one"),
        },
        key=("family", "recipe", "model", "seed", "layer", *head, "quantity", "form"),
    )


def _derived_columns() -> dict[str, Column]:
    """Columns of each derived quantity and its interval."""
    out: dict[str, Column] = {}
    for name, meaning in MEANINGS.items():
        out[name] = Column("float64", meaning, nan=True)
        for bound in ("lower", "upper"):
            bound_meaning = f"{bound} end of the 95 % interval of {name}, NaN where there is none"
            out[f"{name}_{bound}"] = Column("float64", bound_meaning, nan=True)
    return out
