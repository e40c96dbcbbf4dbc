"""The errors massact raises for input it cannot use.

Each carries one sentence saying what happened and where, and one saying what to do next. Command-line entry
points print both on one line and exit with `exit_code`; nothing below them prints.
"""

from __future__ import annotations


class MassactError(Exception):
    """What happened and where (`what`), and what to do next (`remedy`).

    >>> str(MassactError("step 3 is not a checkpoint of pythia-70m", "choose 2 or 4"))
    'step 3 is not a checkpoint of pythia-70m; choose 2 or 4'
    """

    exit_code = 2

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class ConfigError(MassactError):
    """A value in a configuration or on the command line that cannot be meant."""


class ArchitectureError(ConfigError):
    """Numbers that do not describe a transformer."""


class TableError(MassactError):
    """A table on disk that does not have its declared schema."""


class ParseError(MassactError):
    """Text that does not have the format it should."""


class CheckpointError(MassactError):
    """Checkpoints that cannot be reached or are not what they claim."""

    exit_code = 3


class MeasureError(MassactError):
    """Hidden states that cannot be measured."""

    exit_code = 3


class NotFiniteError(MeasureError):
    """NaN or infinite hidden states: they have no median and are never averaged over."""


class OutOfMemoryError(MeasureError):
    """Not even one sequence fits into memory."""


class StorageError(MassactError):
    """A disk that cannot take what must be written."""

    exit_code = 3


class UnforeseenError(MassactError):
    """An exception that nothing here expects: a fault of massact or of a library."""

    exit_code = 3


class OutputError(MassactError):
    """A place to write to that holds what massact did not write."""


class FitError(MassactError):
    """A series that cannot be fitted."""


class TrainError(MassactError):
    """A training run that cannot start or continue."""


class MissingInputError(MassactError):
    """An input of a stage is not on disk."""


class DivergedError(TrainError):
    """A training whose loss stopped being finite; it will do so again."""


class NotReproducedError(TrainError):
    """A training done again that gave other numbers."""

    exit_code = 3


class TrainingFailedError(TrainError):
    """Trainings of a suite that failed where others went on."""

    exit_code = 3
