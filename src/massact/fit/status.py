"""How a fit can end, each ending with its remedy."""

from __future__ import annotations

from enum import StrEnum

STATUS_DTYPE = "U24"


class ExplainedEnum(StrEnum):
    """Names that carry an explanation as `.text`."""

    text: str

    def __new__(cls, value: str, text: str) -> ExplainedEnum:
        """A member that is its name and carries its text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member


class FitStatus(ExplainedEnum):
    """How a fit ended; `.text` says what that means and what to do."""

    @property
    def sentence(self) -> str:
        """As in the table of fits: the name, and the remedy where there is one."""
        return str(self) if self is FitStatus.OK else f"{self}: {self.text}"

    OK = ("ok", "The best curve lies inside the family.")
    AT_EDGE_B_ZERO = (
        "at_edge_b_zero",
        "The best curve is the limit of no decay, b -> 0 (a logarithm and a line): the parameters reproduce it but are "
        "not determined; quote values of the curve, or train longer.",
    )
    AT_EDGE_B_CEILING = (
        "at_edge_b_ceiling",
        "The decay is faster than the first checkpoints resolve: b is a bound, not a value; add earlier checkpoints "
        "or drop step 0.",
    )
    AT_EDGE_TAU_INFINITE = (
        "at_edge_tau_infinite",
        "The best curve is the limit tau0 -> inf, a critically damped step without a logarithm: quote values of the "
        "curve; A1, A2, tau0 and A, gamma, t0 only reproduce it.",
    )
    AT_EDGE_TAU_FLOOR = (
        "at_edge_tau_floor",
        "tau0 is at its floor, where it moves the first point only: do not quote tau0 or t0; compare with a fit that "
        "leaves the first step out.",
    )
    AT_EDGE_GAMMA = (
        "at_edge_gamma",
        "The best curve is an exponential without a logarithm, for which Eq. 9's gamma is beyond e^600: the "
        "parameters draw the nearest curve that a double holds; fit eq14.",
    )
    AT_EDGE_ZETA = (
        "at_edge_zeta",
        "The damping is at a bound of 0.05 or 100: zeta is not determined; at 100 the form is step1, so fit that.",
    )
    AT_EDGE_RATE = (
        "at_edge_rate",
        "A time scale or exponent is at a bound of the search: the parameters reproduce the curve but are not "
        "determined; compare with a simpler form.",
    )
    FEW_POINTS = ("few_points", "No more points than parameters: measure more checkpoints, or fit step1.")
    CONSTANT = ("constant", "All points are equal: the curve is that constant, and only K has a meaning.")
    NO_FINITE_POINTS = ("no_finite_points", "Every value is missing: measure the series again.")
    BEYOND_DOUBLES = (
        "beyond_doubles",
        "The parameters exceed double precision in these units: divide the values or the steps by a constant, or fit "
        "eq14.",
    )
    ENGINE_KEPT = (
        "engine_kept",
        "lmfit's polish did not end at the engine's optimum or better: curve and errors are the engine's.",
    )
    NOT_GLOBAL = (
        "not_global",
        "The given parameters lead to a worse curve than the global search finds: leave them out, or free them.",
    )
