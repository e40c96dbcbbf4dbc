"""The members of a form. The file of a form holds everything that massact knows about it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from massact.fit.forms.basis import Basis, Limit, Rates, Values
from massact.fit.status import FitStatus


class Unit(Enum):
    """The unit of a parameter."""

    VALUES = "of the values"
    STEPS = "steps"
    PER_STEP = "per step"
    NONE = "without unit"


class Parameter(NamedTuple):
    """A parameter of a form: its name in tables, its unit, and whether it may be negative.

    A parameter that may not be negative is a scale: its values are compared by ratios.
    """

    name: str
    unit: Unit
    signed: bool = False


class Edge(NamedTuple):
    """A bound of a rate, and the status of a search that ends on it."""

    rate: int
    end: Literal["low", "high"]
    status: FitStatus


class Line(NamedTuple):
    """How plots draw a form: width in points, dashes on and off, opacity."""

    width: float = 1.0
    dashes: tuple[float, ...] = ()
    opacity: float = 1.0


class Decay(NamedTuple):
    """The slowest exponential decay of a form: the parameter that is its rate per step, and its index among the rates.

    The parameter and the rate are the same number.
    """

    parameter: str
    rate: int


class Form(Basis):
    """A fitted curve. To add one, subclass it in a file of your own, state its members, and `register` an instance.

    A subclass must state the class variables without a value here and the abstract methods. `register` refuses a form
    that does not, and names what is missing.
    """

    name: ClassVar[str]
    """Key of the form: in commands, tables and file names."""
    title: ClassVar[str]
    """Name in figures and pages, in lower case unless it is a proper name."""
    colour: ClassVar[str]
    """Colour of the lines in figures, as #rrggbb."""
    line: ClassVar[Line] = Line()
    """Style of the lines in figures."""
    formula: ClassVar[str]
    """The formula in the parameters' names."""
    signature: ClassVar[tuple[Parameter, ...]]
    """Parameters in the order of the table, and of `value` after t."""
    example: ClassVar[tuple[float, ...]]
    """Parameters of a typical curve over 143,000 steps, for tests and drawings."""
    value: ClassVar[Callable[..., np.ndarray]]
    """value(t, *parameters): the curve; all arguments broadcast. A static method."""
    gradient: ClassVar[Callable[..., tuple[np.ndarray, ...]]]
    """gradient(t, *parameters): the derivative with respect to each parameter. A static method."""
    edges: ClassVar[tuple[Edge, ...]]
    """The status of a search that ends on a bound; the first that applies counts."""
    meaningless: ClassVar[Mapping[FitStatus, frozenset[str]]]
    """Parameters that have no meaning at a status, whatever their standard errors."""
    extrapolated: ClassVar[frozenset[str]]
    """Parameters that describe the curve beyond the trained range if the decay has not been seen (b T < 3)."""
    with_plateau: ClassVar[frozenset[str]]
    """Parameters that trade with the plateau: not quoted if the plateau is disputed."""
    family: ClassVar[str]
    """Forms of one family are nested or draw the same curve; selection names the family beside the form."""
    candidate: ClassVar[bool] = True
    """Whether it takes part in comparisons of forms by default."""
    rival_margin: ClassVar[float | None] = None
    """Its disagreement over a plateau counts if its AICc exceeds the other form's by at most this; None: never."""
    special_case_of: ClassVar[str] = ""
    """The form that draws every curve of this one, and therefore cannot disagree with it."""
    drawn_by: ClassVar[str] = ""
    """The form whose parameters draw every curve of this basis, even those that this form's parameters cannot."""
    limits: ClassVar[tuple[Limit, ...]] = ()
    """Families of the nearest curves that the parameters can draw, searched where `drawable` is False."""
    limit_status: ClassVar[FitStatus] = FitStatus.OK
    """Status of a curve from `limits`."""
    monotone: ClassVar[bool] = False
    """Whether no curve of the form has an interior maximum; where False, `peak_step` or a search on a grid tells."""
    scale_free: ClassVar[bool] = True
    """Whether the curve depends only on steps relative to its own scales, so that steps may have any unit."""
    fixed_at: ClassVar[Mapping[FitStatus, int]] = {}
    """The column of `jacobian` that is fixed at a status."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters in the table of fits."""
        return tuple(parameter.name for parameter in self.signature)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the parameters as Python identifiers: `lambda` becomes `lam`."""
        return tuple("lam" if name == "lambda" else name for name in self.parameters)

    @property
    def scales(self) -> tuple[bool, ...]:
        """Whether each parameter is positive and compared by ratios."""
        return tuple(not parameter.signed for parameter in self.signature)

    @property
    def relative(self) -> tuple[bool, ...]:
        """Whether the standard error of each parameter is computed relative to it."""
        return self.scales

    @abstractmethod
    def rates_of(self, values: Values, first: float) -> np.ndarray:
        """Rates (rate, curve) of parameters: the inverse of `parameters_of`."""

    @abstractmethod
    def slowest_rate(self, values: Values) -> np.ndarray:
        """The rate (curve,) of the slowest decay, per step; NaN for forms without one."""

    def peak_step(self, values: Values, first: float) -> np.ndarray | None:
        """The step (curve,) of the only or first maximum after `first`, NaN without one; None: there is no formula."""
        return np.full(len(values), np.nan) if self.monotone else None

    def end_slope(self, values: Values, last: float) -> np.ndarray:
        """df / d(ln t) (curve,) at the last step; numerical unless a form has a formula."""
        step = np.exp(1e-4)
        with np.errstate(all="ignore"):
            return (self.value(last * step, *values.T) - self.value(last / step, *values.T)) / 2e-4

    def constants(self, means: np.ndarray, last: float) -> np.ndarray:
        """Parameters (curve, parameter) that draw constant series of these means (curve,) up to the last step."""
        scale = {Unit.VALUES: 0.0, Unit.STEPS: last, Unit.PER_STEP: 1 / last, Unit.NONE: 1.0}
        columns = [means if p.name == "K" else np.full(means.shape, scale[p.unit]) for p in self.signature]
        return np.stack(columns, axis=1)

    def within_reach(self, rates: Rates) -> np.ndarray:
        """The nearest rates that the parameters can draw."""
        return np.asarray(rates)

    def drawable(self, values: Values) -> np.ndarray:
        """Whether doubles can hold the parameters of each curve (curve,)."""
        return np.ones(len(values), dtype=bool)

    def jacobian(self, values: Values, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Jacobian (curve, step, column), and the row of each parameter (curve, parameter, column) in its columns.

        By default the columns are derivatives with respect to the parameters, or to the logarithms of those that are
        `relative`, and the rows are the identity.
        """
        scale = np.where(self.relative, values, 1.0)
        gradient = self.gradient(t, *values.T[:, :, None])
        shape = (len(values), t.size)
        columns = np.stack([np.broadcast_to(part, shape) for part in gradient], axis=2) * scale[:, None, :]
        size = values.shape[1]
        return columns, np.broadcast_to(np.eye(size), (len(values), size, size))

    def rescaled(self, values: np.ndarray, step: float) -> np.ndarray:
        """Parameters (curve, parameter) after the unit of steps became `step` former units.

        `values` are already scaled by the units of the parameters. A form overrides this if its parameters also change
        in another way.
        """
        return values

    unknown_in_units: ClassVar[tuple[str, ...]] = ()
    """Parameters whose standard errors are unknown after `rescaled`."""


class OffsetForm(Form):
    """A form f = shape + K whose rates are time scales, exponents and at most one slowest rate of decay.

    States what follows from that. A constant is one of the curves. A search that ends on a bound of a rate has the
    status `AT_EDGE_RATE`, and then only K has a meaning, as it does for a constant series. Where the rate of decay may
    be 0, the status at 0 is `AT_EDGE_B_ZERO`, and only the rate of decay has no meaning.
    """

    constant = True
    decay: ClassVar[Decay | None]
    """The slowest exponential decay; None for a form without one."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not all(hasattr(cls, name) for name in ("signature", "zero", "decay")):
            return  # `register` refuses the form and names what is missing
        shape = frozenset(parameter.name for parameter in cls.signature if parameter.name != "K")
        bounds = [Edge(rate, end, FitStatus.AT_EDGE_RATE) for end in ("low", "high") for rate in range(len(cls.zero))]
        meaningless = {FitStatus.AT_EDGE_RATE: shape, FitStatus.CONSTANT: shape}
        if cls.decay is not None and cls.zero[cls.decay.rate]:
            bounds.remove(Edge(cls.decay.rate, "low", FitStatus.AT_EDGE_RATE))
            bounds.append(Edge(cls.decay.rate, "low", FitStatus.AT_EDGE_B_ZERO))
            meaningless[FitStatus.AT_EDGE_B_ZERO] = frozenset({cls.decay.parameter})
        cls.edges, cls.meaningless = tuple(bounds), meaningless

    def slowest_rate(self, values: Values) -> np.ndarray:
        """The rate of `decay`, NaN without one."""
        if self.decay is None:
            return np.full(len(values), np.nan)
        return values[:, self.parameters.index(self.decay.parameter)]


def lacking(form: object) -> list[str]:
    """Members that the base classes declare and the object does not state."""
    if not isinstance(form, Form):
        return ["a base class massact.fit.forms.Form"]
    names = [name for base in type(form).__mro__ if issubclass(base, Basis) for name in base.__annotations__]
    return [name for name in names if not hasattr(form, name)]
