"""The outcome of a sweep for each of its checkpoints."""

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
_LONGEST_REASON = 300  # characters of a library's message


@dataclass(frozen=True)
class Failure:
    """Why a checkpoint was not measured: a status, what happened, and the remedy."""

    status: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what

    @classmethod
    def of(cls, error: MassactError) -> Failure:
        """The failure that an error describes."""
        if isinstance(error, NotFiniteError):
            status = "not_finite"
        elif isinstance(error, OutOfMemoryError):
            status = "out_of_memory"
        else:
            status = str(getattr(error, "status", "failed"))
        return cls(status, error.what, error.remedy)

    @classmethod
    def unforeseen(cls, step: int, error: Exception) -> Failure:
        """The failure of a checkpoint for which a library raised its own error."""
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        return cls(
            "out_of_memory" if out_of_memory(error) else "failed",
            f"step {step} cannot be measured ({type(error).__name__}{f': {reason}' if reason else ''})",
            "check that its config.json and its weights are complete, or leave it out",
        )


@dataclass
class SweepResult:
    """Measurements by step, the origin of their weights, failures, and checkpoints left out.

    Attributes
    ----------
    measured, identified
        By step. `identified` holds only steps that are in `measured`.
    failed
        Step -> why it could not be measured. Where one of several statistics is not finite, the step is in `measured`
        too, with the others (`of`).
    suspects
        Step -> why its weights are not its own, or which settings differ from those of most steps. Such steps are
        measured only on request.
    seconds
        Step -> time spent loading and measuring in this run. Steps from the store are absent.
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
        """Move steps without quantities, such as a ratio to a median of 0, from the measurements to the failures."""
        for step, measurement in list(self.measured.items()):
            for reduced in measurement.reduced.values():
                flaw = reduced.kind.flaw(reduced.arrays) if isinstance(reduced.kind, Statistic) else None
                if flaw is not None:
                    self.failed[step] = Failure(flaw.status, f"step {step}: {flaw.what}", flaw.remedy)
                    del self.measured[step], self.identified[step]
                    break

    def statuses(self) -> dict[int, str]:
        """Step -> measured, stored (by an earlier run), suspect (left out), or the status of its failure."""
        statuses = {step: "measured" if step in self.seconds else "stored" for step in self.measured}
        statuses |= {step: "suspect" for step in self.suspects if step not in self.measured}
        statuses |= {step: failure.status for step, failure in self.failed.items()}
        return dict(sorted(statuses.items()))

    def attached(self) -> tuple[str | None, list[str]]:
        """How blocks were read, and why no bridge was used where one was tried.

        Returns
        -------
        way, reasons
            "bridge", "plain hooks", or both joined by "and"; None when the records are too old to state it. The
            reasons are those of all steps, without duplicates.
        """
        words = sorted({measurement.attached for measurement in self.measured.values()} - {""})
        ways = sorted({word.partition(": ")[0] for word in words})
        return " and ".join(ways) or None, [why for word in words if (why := word.partition(": ")[2])]


def counted(statuses: Mapping[int, str]) -> str:
    """The number of checkpoints with each status, in one phrase.

    >>> counted({0: "stored", 1: "measured", 2: "measured"})
    '2 measured, 1 stored'
    """
    order: dict[str, Any] = {}
    for status in sorted(statuses.values(), key=lambda s: (s not in ("measured", "stored"), s)):
        order[status] = order.get(status, 0) + 1
    return ", ".join(f"{count} {status}" for status, count in order.items())
