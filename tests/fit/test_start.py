import pytest

from massact.errors import FitError
from massact.fit.forms import get_form
from massact.fit.start import start_of

EQ9 = get_form("eq9")
VALUES = {"A": 40.0, "lam": 0.05, "gamma": 0.05, "t0": 0.8, "K": 12.0}


def test_a_dict_gives_starting_values_with_the_bounds_of_the_form():
    start = start_of(EQ9, VALUES)
    assert start.valuesdict() == VALUES and all(start[name].vary for name in VALUES)
    assert start["gamma"].min == 0 and start["A"].min == float("-inf")
    named = {"lambda" if name == "lam" else name: value for name, value in VALUES.items()}
    assert start_of(EQ9, named).valuesdict() == VALUES


def test_parameters_are_copied():
    from lmfit import create_params

    parameters = create_params(**VALUES)
    start = start_of(EQ9, parameters)
    start["A"].value = 1.0
    assert parameters["A"].value == 40


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([1, 2], "params are a list"),
        ({name: value for name, value in VALUES.items() if name != "K"}, "params have no K"),
        (VALUES | {"tau0": 1.0}, "params have tau0"),
        (VALUES | {"K": None}, r"params\['K'\] = None"),
        (VALUES | {"K": float("inf")}, r"params\['K'\] = inf"),
        (VALUES | {"K": "12"}, r"params\['K'\]: not an array of numbers"),
        (VALUES | {"K": [1, 2]}, r"params\['K'\] = \[1, 2\]"),
    ],
)
def test_anything_else_is_refused(params, message):
    with pytest.raises(FitError, match=message):
        start_of(EQ9, params)
