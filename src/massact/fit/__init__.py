"""Fit growth curves: pure forms, one curve by lmfit, many curves at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.fit.curve import CurveFit
    from massact.fit.forms import FORMS, Form, curve_values, register
    from massact.fit.joint import fit_joint
    from massact.fit.judgement.regimes import Regime
    from massact.fit.many import fit_many, fit_table
    from massact.fit.overview import brief
    from massact.fit.selection import best_form, compare_forms
    from massact.fit.series import fit_series
    from massact.fit.status import FitStatus

__all__ = [
    "FORMS",
    "CurveFit",
    "FitStatus",
    "Form",
    "Regime",
    "best_form",
    "brief",
    "compare_forms",
    "curve_values",
    "fit_joint",
    "fit_many",
    "fit_series",
    "fit_table",
    "register",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "FORMS": "forms",
        "Form": "forms",
        "register": "forms",
        "CurveFit": "curve",
        "FitStatus": "status",
        "Regime": "judgement.regimes",
        "best_form": "selection",
        "brief": "overview",
        "compare_forms": "selection",
        "curve_values": "forms",
        "fit_joint": "joint",
        "fit_many": "many",
        "fit_series": "series",
        "fit_table": "many",
    },
)
