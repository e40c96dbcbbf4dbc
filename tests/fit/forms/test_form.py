"""What `OffsetForm` derives from the members that a form states."""

import numpy as np
import pytest

from massact.errors import FitError
from massact.fit.forms import FORMS, Decay, Edge, OffsetForm, Parameter, Unit, register
from massact.fit.status import FitStatus

RATE, NO_DECAY = FitStatus.AT_EDGE_RATE, FitStatus.AT_EDGE_B_ZERO


class Exponential(OffsetForm):
    name = "exponential"
    signature = (Parameter("A", Unit.VALUES, True), Parameter("beta", Unit.PER_STEP), Parameter("K", Unit.VALUES, True))
    zero = (True,)
    decay = Decay("beta", rate=0)


class Slow(Exponential):
    zero = (False,)


class Saturation(Exponential):
    decay = None


def test_every_bound_of_a_rate_is_an_edge_and_no_decay_is_one_of_its_own():
    assert set(Exponential.edges) == {Edge(0, "high", RATE), Edge(0, "low", NO_DECAY)}
    for form in (Slow, Saturation):
        assert set(form.edges) == {Edge(0, "high", RATE), Edge(0, "low", RATE)}


def test_only_the_offset_has_a_meaning_at_an_edge():
    for form in (Exponential, Slow, Saturation):
        assert form.meaningless[RATE] == form.meaningless[FitStatus.CONSTANT] == {"A", "beta"}
    assert Exponential.meaningless[NO_DECAY] == {"beta"}
    assert NO_DECAY not in Slow.meaningless and NO_DECAY not in Saturation.meaningless


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if isinstance(form, OffsetForm)])
def test_the_slowest_rate_is_the_decay_and_its_rate_of_the_search(form):
    chosen = FORMS[form]
    values = np.array([chosen.example])
    slowest = chosen.slowest_rate(values)
    if chosen.decay is None:
        assert np.isnan(slowest).all()
    else:
        assert slowest == values[:, chosen.parameters.index(chosen.decay.parameter)]
        assert slowest == chosen.rates_of(values, 0.0)[chosen.decay.rate]


def test_a_form_that_does_not_say_whether_it_decays_is_refused():
    class Silent(OffsetForm):
        name = "silent"
        box = columns = slopes = parameters_of = rates_of = None  # type: ignore[assignment]

    with pytest.raises(FitError, match=r"does not state (?=.*title)(?=.*decay)(?=.*edges)"):
        register(Silent())
