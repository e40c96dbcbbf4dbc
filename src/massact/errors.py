"""The exceptions of massact.

Each has one sentence on what happened and where, and one on what to do next. The command-line entry points print both
on one line and exit with `exit_code`. No other code prints.
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
    """An invalid value in a configuration or on the command line."""


class ArchitectureError(ConfigError):
    """Numbers that do not describe a transformer."""


class TableError(MassactError):
    """A table on disk that violates its declared schema."""


class ParseError(MassactError):
    """Text in a wrong format."""


class CheckpointError(MassactError):
    """Checkpoints that are unavailable or not what they claim to be."""

    exit_code = 3


class MeasureError(MassactError):
    """Hidden states that cannot be measured."""

    exit_code = 3


class NotFiniteError(MeasureError):
    """NaN or infinite hidden states: they have no median and never enter an average.

    `edits` are the names of the edits under which they were measured, as in a `Measurement`.
    """

    edits: tuple[str, ...] = ()


class OutOfMemoryError(MeasureError):
    """Memory is too small even for a single sequence."""


class StorageError(MassactError):
    """A disk that cannot be written to."""

    exit_code = 3


class UnforeseenError(MassactError):
    """An unexpected exception: a fault of massact or of a library."""

    exit_code = 3


class OutputError(MassactError):
    """An output path with content that massact did not write."""


class FitError(MassactError):
    """A series that cannot be fitted."""


class TrainError(MassactError):
    """A training run that cannot start or continue."""


class MissingInputError(MassactError):
    """An input of a stage is not on disk."""


class MissingExtraError(MassactError, ImportError):
    """An optional dependency that is not installed."""


class DivergedError(TrainError):
    """A training whose loss is no longer finite. A repetition would end in the same way."""


class NotReproducedError(TrainError):
    """A repeated training that gave other numbers."""

    exit_code = 3


class TrainingFailedError(TrainError):
    """Failed trainings of a suite, while others finished."""

    exit_code = 3
