"""How a run's checkpoints are named, and where: one schema for every suite, and a reader of names by a pattern."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cached_property

from massact.errors import ConfigError
from massact.names import choice

REFS = ("branches", "tags", "commits", "folders", "repos")
AXES = ("step", "tokens", "words", "chunk")
GROUPS = (*AXES, "variant", "phase")
UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
LARGEST = 1e15  # of a number in a name, and of a multiplier
_KEY = "model.naming"


def number_of(written: str | float) -> float | None:
    """A number as names write it; None for anything else.

    >>> number_of("0005000"), number_of("2.5T"), number_of("main")
    (5000.0, 2500000000000.0, None)
    """
    text = str(written).upper()
    try:
        number = float(text.rstrip("KMBT")) * UNITS.get(text[-1:], 1)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= LARGEST else None


@dataclass(frozen=True)
class Branch:
    """A named checkpoint: a branch, a tag, a commit, a folder or a repository.

    Attributes
    ----------
    step
        Position on the run's axis: the optimiser step, or whatever the suite counts instead (`Naming.axis`).
    tokens
        Training tokens, rounded as in the name; None if the name does not state them.
    variant
        What sets a run apart from others with the same steps (`stage2-ingredient1`), empty for most.
    repository, revision
        Where it is, if not in the suite's own repository, and what to ask for, if not for its name.
    """

    name: str
    step: int
    tokens: int | None
    variant: str
    repository: str = field(default="", repr=False)
    revision: str = field(default="", repr=False)


@dataclass(frozen=True)
class Naming:
    r"""Where the checkpoints of a run are, and what their names say.

    Attributes
    ----------
    refs
        What a checkpoint is: one of the `branches`, `tags` or `commits` of a repository, one of the `folders` of a
        local folder, or one of several `repos`.
    pattern
        A regular expression for the whole name (a commit's title) with named groups: `step`, `tokens`, `words`,
        `chunk`, `phase`, `variant`.
    axis
        The group that orders the checkpoints. It gives the column `step`.
    multiplier
        Group -> the unit of its number (`tokens: 1e9`). A number that ends in K, M, B or T needs none.
    phases
        Name of a phase -> its position on the axis, before the multiplier, for names that are no numbers.
    parts
        Repositories that hold the run besides `model.repository`. Where several hold a step, that of the first counts;
        `model.repository` comes before all.
    branch
        The branch whose commits are the checkpoints.

    >>> olmo = Naming(pattern=r"step(?P<step>\d+)-tokens(?P<tokens>\d+)B", multiplier={"tokens": 1e9})
    >>> olmo.read("step1000-tokens4B"), olmo.read("main")
    (Branch(name='step1000-tokens4B', step=1000, tokens=4000000000, variant=''), None)
    """

    refs: str = "branches"
    pattern: str = ""
    axis: str = "step"
    multiplier: dict[str, float] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    branch: str = "main"

    def check(self) -> None:
        """Check every value.

        Raises
        ------
        ConfigError
            Names the key: a pattern that does not compile or lacks the axis, an unknown group, a multiplier of a group
            that the pattern does not have, parts or phases that nothing reads.
        """
        choice(f"{_KEY}.refs", self.refs, REFS)
        choice(f"{_KEY}.axis", self.axis, AXES)
        groups = self._compiled.groupindex
        for group in groups:
            choice(f"a group of {_KEY}.pattern", group, GROUPS)
        if self.axis not in groups and "phase" not in groups:
            raise ConfigError(
                f"{_KEY}.pattern = {self.pattern} has no group {self.axis}, which {_KEY}.axis names",
                rf"write the number as (?P<{self.axis}>\d+), or set {_KEY}.axis",
            )
        if bool(self.phases) != ("phase" in groups):
            raise ConfigError(
                f"{_KEY}.phases and the group phase of {_KEY}.pattern need each other", "give both, or neither"
            )
        for group, unit in self.multiplier.items():
            if group not in AXES or not (group in groups or (group == self.axis and self.phases)):
                raise ConfigError(
                    f"{_KEY}.multiplier.{group} is of no number in {_KEY}.pattern", f"groups: {', '.join(groups)}"
                )
            if not 0 < unit <= LARGEST:
                raise ConfigError(f"{_KEY}.multiplier.{group} = {unit}", "give more than 0, at most 1e15")
        if self.parts and self.refs == "folders":
            raise ConfigError(f"{_KEY}.parts are repositories, {_KEY}.refs = folders are local", "drop one of them")

    def read(self, name: str) -> Branch | None:
        """What a name says; None if it does not match the pattern, or names a phase whose position is not known."""
        match = self._compiled.fullmatch(name)
        if match is None:
            return None
        said = {group: text for group, text in match.groupdict().items() if text is not None}
        position = self._number(self.axis, said.get(self.axis))
        if position is None:
            position = self._number(self.axis, self.phases.get(said.get("phase", "")))
        if position is None:
            return None
        tokens = position if self.axis == "tokens" else self._number("tokens", said.get("tokens"))
        return Branch(name, position, tokens, said.get("variant", ""))

    def _number(self, group: str, written: str | float | None) -> int | None:
        if written is None:
            return None
        number = number_of(written)
        return None if number is None else round(number * self.multiplier.get(group, 1.0))

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        try:
            return re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(
                f"{_KEY}.pattern = {self.pattern} is no regular expression ({error})", "correct it"
            ) from None
