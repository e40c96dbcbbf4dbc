"""What became of the checkpoints of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from massact.errors import MassactError, NotFiniteError, OutOfMemoryError
from massact.extract.protocol import Measurement
from massact.extract.statistic import Statistic
from massact.host import out_of_memory

if TYPE_CHECKING:
    from massact.checkpoints.source import Identity

NOT_TRIED = "not_tried"
_SAID_AT_MOST = 300  # characters of what a library says


@dataclass(frozen=True)
class Failure:
    """Why a checkpoint was not measured: a status, what happened, and what mends it."""

    status: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what

    @classmethod
    def of(cls, error: MassactError) -> Failure:
        """The failure an error tells of."""
        if isinstance(error, NotFiniteError):
            status = "not_finite"
        elif isinstance(error, OutOfMemoryError):
            status = "out_of_memory"
        else:
            status = str(getattr(error, "status", "failed"))
        return cls(status, error.what, error.remedy)

    @classmethod
    def unforeseen(cls, step: int, error: Exception) -> Failure:
        """The failure of a checkpoint on which a library raised an error of its own."""
        said = " ".join(str(error).split())[:_SAID_AT_MOST]
        return cls(
            "out_of_memory" if out_of_memory(error) else "failed",
            f"step {step} cannot be measured ({type(error).__name__}{f': {said}' if said else ''})",
            "see whether its config.json and its weights are whole, or leave it out",
        )


@dataclass
class SweepResult:
    """Measurements by step, where their weights came from, what failed, and what was left out.

    Attributes
    ----------
    measured, identified
        By step. `identified` holds only steps that are in `measured`.
    failed
        Step -> why it could not be measured. Where one of several statistics is not finite, the step is in `measured`
        too, with the others (`of`).
    suspects
        Step -> why its weights are not its own, or its settings not those of most steps; of the steps asked for.
        Measured only where that was asked for.
    seconds
        Step -> time spent loading and measuring in this run; steps taken from the store are absent.
    """

    measured: dict[int, Measurement] = field(default_factory=dict)
    identified: dict[int, Identity] = field(default_factory=dict)
    failed: dict[int, Failure] = field(default_factory=dict)
    suspects: dict[int, str] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def of(self, statistic: str) -> SweepResult:
        """The result of one statistic: what a sweep that measures it alone gives."""
        measured = {step: m.only(statistic) for step, m in self.measured.items() if statistic in m.reduced}
        identified = {step: identity for step, identity in self.identified.items() if step in measured}
        failed = {step: failure for step, failure in self.failed.items() if step not in measured}
        return SweepResult(measured, identified, failed, self.suspects, self.seconds)

    def set_flawed_aside(self) -> None:
        """Make failures of steps of which a statistic's quantities do not exist, such as a ratio to a median of 0."""
        for step, measurement in list(self.measured.items()):
            for reduced in measurement.reduced.values():
                flaw = reduced.kind.flaw(reduced.arrays) if isinstance(reduced.kind, Statistic) else None
                if flaw is not None:
                    self.failed[step] = Failure(flaw.status, f"step {step}: {flaw.what}", flaw.remedy)
                    del self.measured[step], self.identified[step]
                    break

    def statuses(self) -> dict[int, str]:
        """Step -> measured, stored (by an earlier run), suspect (left out), or the status of its failure."""
        said = {step: "measured" if step in self.seconds else "stored" for step in self.measured}
        said |= {step: "suspect" for step in self.suspects if step not in self.measured}
        said |= {step: failure.status for step, failure in self.failed.items()}
        return dict(sorted(said.items()))

    def attached(self) -> tuple[str | None, list[str]]:
        """How blocks were read, and why not by a bridge where one was tried.

        Returns
        -------
        way, reasons
            "bridge", "plain hooks", or both joined by "and"; None when the records are older than the word. The reasons
            are those of all steps, each once.
        """
        words = sorted({measurement.attached for measurement in self.measured.values()} - {""})
        ways = sorted({word.partition(": ")[0] for word in words})
        return " and ".join(ways) or None, [why for word in words if (why := word.partition(": ")[2])]


def counted(statuses: Mapping[int, str]) -> str:
    """How many checkpoints ended in which way, in one phrase.

    >>> counted({0: "stored", 1: "measured", 2: "measured"})
    '2 measured, 1 stored'
    """
    order: dict[str, Any] = {}
    for status in sorted(statuses.values(), key=lambda s: (s not in ("measured", "stored"), s)):
        order[status] = order.get(status, 0) + 1
    return ", ".join(f"{count} {status}" for status, count in order.items())
