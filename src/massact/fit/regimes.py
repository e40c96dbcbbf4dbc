"""What a fit allows to be said: regimes, the ways a fit can end, and which parameters may be quoted."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from massact.fit.table import FORM_PARAMETERS

PLATEAU = 5.0  # b T above which the plateau was seen: 99.3 % of the decay is completed
SLOW = 1.0  # b T below which the decay has hardly begun
QUOTABLE = 3.0  # b T below which the plateau, and what trades with it, is an extrapolation: 95 % of the decay seen
VISIBLE_DROP = (
    2.0  # a peak with b T < 1 counts when the curve falls by more than this many residual deviations after it
)
STATUS_DTYPE = "U24"
LARGEST_RELATIVE_STDERR = 0.3  # a parameter with a larger standard error, relative to itself, is not quoted


class Regime(StrEnum):
    """How much of the curve the trained range shows; `.text` says what may be quoted."""

    text: str

    def __new__(cls, value: str, text: str) -> Regime:
        """A member that is its name and carries its text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    PLATEAU_SEEN = (
        "plateau_seen",
        "The decay is over within the trained range: values of the curve, the peak, the plateau K and each raw "
        "parameter marked determined may be quoted.",
    )
    PEAK_WITHOUT_PLATEAU = (
        "peak_without_plateau",
        "The curve passes its peak but not its decay: quote values of the curve, peak and half-rise; K is an "
        "extrapolation, and raw parameters only where marked determined.",
    )
    LOG_RISE = (
        "log_rise",
        "No clear peak in the trained range and no plateau: quote the values at start and end, the half-rise and the "
        "end slope. Raw parameters trade against each other: gamma, t0, lambda, A and K of Eq. 9 mean nothing alone.",
    )
    DISPUTED = (
        "disputed",
        "The fitted curve settles, but the data or forms that fit as well do not bear that out: quote no plateau, "
        "neither K nor what trades with it, and the peak only where it is determined; train longer to see more.",
    )
    FLAT = (
        "flat",
        "By BIC a constant describes these points at least as well as this form's curve: quote nothing of the curve.",
    )
    FAILED = ("failed", "There is no curve: quote nothing of it.")


class Doubt(StrEnum):
    """Why a plateau or a peak of the fitted curve is not quoted; `.text` says more."""

    text: str

    def __new__(cls, value: str, text: str) -> Doubt:
        """A member that is its name and carries its text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    END = ("end_departs", "The last values depart from the settled curve by more than their noise.")
    RIVAL = ("forms_disagree", "A form that fits as well goes elsewhere: at ten times the last step it is far off.")
    NO_FALL = ("no_fall", "The values do not fall after the fitted peak by more than their noise.")
    HIGHEST_LAST = ("highest_last", "The largest value is the last one.")
    PEAK_UNBOUNDED = ("peak_unbounded", "The interval of the peak's step reaches beyond the last step.")


class FitStatus(StrEnum):
    """How a fit ended; `.text` says what that means and what to do."""

    text: str

    def __new__(cls, value: str, text: str) -> FitStatus:
        """A member that is its name and carries its text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    @property
    def sentence(self) -> str:
        """As in the table of fits: the name, and the remedy where there is one."""
        return str(self) if self is FitStatus.OK else f"{self}: {self.text}"

    OK = ("ok", "The best curve lies inside the family.")
    AT_EDGE_B_ZERO = (
        "at_edge_b_zero",
        "The best curve is the limit of no decay, b -> 0 (a logarithm and a line): the parameters draw it but are not "
        "determined; quote values of the curve, or train longer.",
    )
    AT_EDGE_B_CEILING = (
        "at_edge_b_ceiling",
        "The decay is faster than the first checkpoints resolve: b is a bound, not a value; add earlier checkpoints "
        "or drop step 0.",
    )
    AT_EDGE_TAU_INFINITE = (
        "at_edge_tau_infinite",
        "The best curve is the limit tau0 -> inf, a critically damped step without a logarithm: quote values of the "
        "curve; A1, A2, tau0 and A, gamma, t0 only draw it.",
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
        "A time scale or exponent is at a bound of the search: the parameters draw the curve but are not determined; "
        "compare with a simpler form.",
    )
    FEW_POINTS = ("few_points", "No more points than parameters: measure more checkpoints, or fit step1.")
    CONSTANT = ("constant", "All points are equal: the curve is that constant, and nothing but K has a meaning.")
    NO_FINITE_POINTS = ("no_finite_points", "Every value is missing: measure the series again.")
    BEYOND_DOUBLES = (
        "beyond_doubles",
        "No double holds the parameters in these units: divide the values or the steps by a constant, or fit eq14.",
    )
    ENGINE_KEPT = (
        "engine_kept",
        "lmfit's polish did not end at the engine's optimum or better: curve and errors are the engine's.",
    )
    NOT_GLOBAL = (
        "not_global",
        "The parameters given lead to a worse curve than the global search finds: leave them out, or free them.",
    )


# Raw parameters of the paper's forms that mean nothing at an edge, whatever their standard error.
MEANINGLESS: dict[str, frozenset[str]] = {
    FitStatus.AT_EDGE_B_ZERO: frozenset({"A", "lambda", "gamma", "t0", "K", "A2", "beta", "tau", "omega", "zeta"}),
    FitStatus.AT_EDGE_B_CEILING: frozenset({"A", "lambda", "gamma", "t0", "beta", "A1", "A2", "tau0", "tau", "omega"}),
    FitStatus.AT_EDGE_TAU_INFINITE: frozenset({"A", "lambda", "gamma", "t0", "A1", "A2", "tau0"}),
    FitStatus.AT_EDGE_TAU_FLOOR: frozenset({"t0", "tau0"}),
    FitStatus.AT_EDGE_GAMMA: frozenset({"A", "lambda", "gamma", "t0", "A1", "A2", "tau0"}),
    FitStatus.AT_EDGE_ZETA: frozenset({"zeta", "omega"}),
    FitStatus.CONSTANT: frozenset({"A", "lambda", "gamma", "t0", "A1", "A2", "beta", "tau0", "tau", "zeta", "omega"}),
}
ANY = frozenset({"A", "A1", "A2", "B", "beta", "beta1", "beta2", "n", "t_bump", "t_half", "tau", "tau0", "width"})
# The same of the forms beyond the paper, which lose less at an edge.
MEANINGLESS_BEYOND: dict[str, frozenset[str]] = {
    FitStatus.AT_EDGE_B_ZERO: frozenset({"beta"}),
    FitStatus.AT_EDGE_RATE: ANY,
    FitStatus.CONSTANT: ANY,
}
PAPER = ("eq9", "eq14", "step1", "step2")
ON_LOG_RISE: dict[str, frozenset[str]] = {
    "eq9": frozenset({"A", "lambda", "gamma", "t0", "K"}),
    "eq14": frozenset({"A2", "beta", "K"}),
    "log_decay": frozenset({"beta"}),
    "two_exp": frozenset({"A1", "beta1", "K"}),
    "hill_decay": frozenset({"beta"}),
}

# What trades with the plateau of a form and is not quoted where the plateau is disputed.
WITH_PLATEAU: dict[str, frozenset[str]] = {
    "eq9": frozenset({"A", "lambda", "gamma", "t0", "K"}),
    "eq14": frozenset({"A2", "beta", "K"}),
    "step1": frozenset({"K", "tau"}),
    "step2": frozenset({"K", "zeta", "omega"}),
    "log_decay": frozenset({"beta"}),
    "two_exp": frozenset({"A1", "beta1", "K"}),
    "hill": frozenset({"A", "t_half", "n"}),
    "hill_decay": frozenset({"A", "beta"}),
    "power": frozenset({"A", "tau", "n"}),
}


def meaningless(form: str, status: str) -> frozenset[str]:
    """Which raw parameters of a form mean nothing at that ending."""
    return (MEANINGLESS if form in PAPER else MEANINGLESS_BEYOND).get(status, frozenset())


def regime_of(
    *, bT: np.ndarray, peaked: np.ndarray, drop: np.ndarray, sigma: np.ndarray, flat: np.ndarray, at_b_zero: np.ndarray
) -> np.ndarray:
    """Names of the regimes (curve,) of curves that exist.

    Parameters
    ----------
    bT
        Slowest rate of decay times the last step.
    peaked, drop
        Whether there is an interior maximum, and by how much the curve falls from it to the last step.
    sigma
        Residual standard deviation.
    flat
        Whether a constant has no larger BIC.
    at_b_zero
        Whether the best curve is the limit b = 0, whatever b draws it.
    """
    bT = np.where(at_b_zero, 0.0, bT)
    passed = peaked & ((bT >= SLOW) | (drop > VISIBLE_DROP * sigma))
    names = [str(Regime.FLAT), str(Regime.PLATEAU_SEEN), str(Regime.PEAK_WITHOUT_PLATEAU)]
    return np.select([flat, bT > PLATEAU, passed], names, str(Regime.LOG_RISE))


def may_quote(
    form: str,
    values: np.ndarray,
    stderr: np.ndarray,
    *,
    scale: np.ndarray,
    bT: np.ndarray,
    regime: np.ndarray,
    status: np.ndarray,
) -> np.ndarray:
    """Which raw parameters (curve, parameter) are determined.

    None on flat series; not where `meaningless` or, on a log rise or at b T < 3, `ON_LOG_RISE` names it; else where the
    standard error is known and at most 30 % of the parameter. K is compared with at least the range of the curve,
    `scale` (curve,), because K = 0 is a value like any other. Of a constant series K alone is.
    """
    names = FORM_PARAMETERS[form]
    is_K = np.array([name == "K" for name in names])
    size = np.where(is_K, np.maximum(np.abs(values), scale[:, None]), np.abs(values))
    with np.errstate(invalid="ignore"):
        quoted = stderr <= LARGEST_RELATIVE_STDERR * size
    unsettled = (regime == Regime.LOG_RISE) | (bT < QUOTABLE)
    table = MEANINGLESS if form in PAPER else MEANINGLESS_BEYOND
    for j, name in enumerate(names):
        at_edge = [str(ending) for ending, unusable in table.items() if name in unusable]
        quoted[:, j] &= ~np.isin(status, at_edge)
        if name in ON_LOG_RISE.get(form, frozenset()):
            quoted[:, j] &= ~unsettled
    quoted[regime == Regime.FLAT] = False
    return quoted | ((status == FitStatus.CONSTANT)[:, None] & is_K)
