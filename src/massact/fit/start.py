"""The caller's starting values as lmfit Parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from massact.errors import FitError
from massact.fit.checks import as_floats
from massact.fit.forms import Form


def start_of(form: Form, params: Any) -> Any:
    """A copy of lmfit Parameters, or Parameters made of a mapping of names to numbers, with the form's bounds.

    Raises
    ------
    FitError
        An object of another type, a missing parameter, one that the form does not have, or a value that is not finite.
    """
    from lmfit import Parameters

    if not isinstance(params, Mapping):
        raise FitError(f"params are a {type(params).__name__}", "give lmfit Parameters, or a dict of names and numbers")
    if not isinstance(params, Parameters):
        named = {"lam" if name == "lambda" else str(name): value for name, value in params.items()}
        unknown = [name for name in named if name not in form.arguments]
        if unknown:
            raise FitError(f"params have {', '.join(unknown)}", f"form '{form.name}' has {', '.join(form.arguments)}")
    else:
        named = params
    missing = [name for name in form.arguments if name not in named]
    if missing:
        raise FitError(f"params have no {', '.join(missing)}", f"form '{form.name}' has {', '.join(form.arguments)}")
    if isinstance(params, Parameters):
        return params.copy()
    start = Parameters()
    for name, scale in zip(form.arguments, form.scales, strict=True):
        value = as_floats(named[name], f"params['{name}']")
        if value.size != 1 or not math.isfinite(value.item()):
            raise FitError(f"params['{name}'] = {named[name]!r}", "give one finite number")
        start.add(name, value=value.item(), min=0.0 if scale else -np.inf)
    return start
