"""The fitted forms, one file each, and the only list of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from massact.errors import FitError
from massact.fit.checks import Numbers, as_floats
from massact.fit.forms.bump import Bump
from massact.fit.forms.eq9 import Eq9, eq9_from_eq14, eq14_from_eq9
from massact.fit.forms.eq14 import EQ14
from massact.fit.forms.form import Decay, Edge, Form, Line, OffsetForm, Parameter, Unit, lacking
from massact.fit.forms.hill import HILL
from massact.fit.forms.hill_decay import HillDecay
from massact.fit.forms.log import Log
from massact.fit.forms.log_decay import LogDecay
from massact.fit.forms.power import Power
from massact.fit.forms.step1 import Step1
from massact.fit.forms.step2 import Step2
from massact.fit.forms.two_exp import TwoExp
from massact.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FORMS",
    "Decay",
    "Edge",
    "Form",
    "Line",
    "OffsetForm",
    "Parameter",
    "Unit",
    "curve_values",
    "eq9_from_eq14",
    "eq14_from_eq9",
    "get_form",
    "register",
]

FORMS: Registry[Form] = Registry(
    "form",
    "massact.forms",
    [Eq9(), EQ14, Step1(), Step2(), Log(), LogDecay(), TwoExp(), HILL, HillDecay(), Bump(), Power()],
    lacking,
    FitError,
)
register = FORMS.register
get_form = FORMS.get_named


def curve_values(form: str, parameters: Mapping[str, Any] | pd.Series, t: Numbers) -> np.ndarray:
    """The curve of one row of a table of fits at steps t, in the shape of t; NaN where the fit failed.

    `parameters` may be the whole row; other keys are ignored. The parameters of a row draw the curve whose `sse` the
    row states, even where the best curve lies at an edge and the parameters are not determined.

    Raises
    ------
    FitError
        An unknown form, a missing parameter, or values that are not numbers.
    """
    chosen = get_form(form)
    missing = [name for name in chosen.parameters if name not in parameters]
    if missing:
        raise FitError(f"no value for {', '.join(missing)} of form '{form}'", "pass a row of a table of this form")
    values = (as_floats(parameters[name], f"parameter {name}") for name in chosen.parameters)
    return chosen.value(as_floats(t, "t"), *values)
