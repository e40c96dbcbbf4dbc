"""The loggers of a live measurement: each is told every step, and none can end the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from massact.errors import StorageError
from massact.extract.protocol import Measurement
from massact.train.live_warnings import Warnings, first_line

Logger = Callable[[int, Measurement], None]


class Loggers:
    """Loggers that are told each measured step.

    Parameters
    ----------
    loggers
        Called as `logger(step, measurement)`. Those with a `close` are closed at the end.
    warnings
        Where their failures go.
    resumed
        Whether the training has earlier steps, which the loggers are told first.
    """

    def __init__(self, loggers: Iterable[Logger], warnings: Warnings, *, resumed: bool) -> None:
        self._loggers, self._warnings = tuple(loggers), warnings
        self._behind = resumed and bool(self._loggers)

    def catch_up(self, measured: Callable[[], Mapping[int, Measurement]]) -> None:
        """Tell the steps of the training before it was resumed, once. `measured` reads them, if there is need."""
        if not self._behind:
            return
        self._behind = False
        try:
            earlier = measured()
        except StorageError as error:
            self._warnings.failed(error, "tell", f"earlier steps are not passed to the loggers ({error})")
            return
        for step, measurement in earlier.items():
            self.tell(step, measurement)

    def tell(self, step: int, measurement: Measurement) -> None:
        """Tell a step. An exception of a logger becomes a warning, once per logger."""
        for logger in self._loggers:
            try:
                logger(step, measurement)
            except Exception as error:
                name = getattr(logger, "__name__", type(logger).__name__)
                self._warnings.failed(
                    error,
                    f"logger {id(logger)}",
                    f"{name} failed ({first_line(error)}); the journal is kept, the training goes on, and"
                    f" LiveMeasurement.tell({name}) logs all steps later",
                )

    def close(self, guard: Callable[[str], AbstractContextManager[None]]) -> None:
        """Close those that can be closed, each within `guard(what failed)`."""
        for logger in self._loggers:
            if hasattr(logger, "close"):
                with guard(f"{type(logger).__name__} was not closed"):
                    close(logger)


def tell_all(logger: Logger, measured: Mapping[int, Measurement]) -> None:
    """Tell a single logger these steps, and close it. Its exceptions are not caught."""
    for step, measurement in measured.items():
        logger(step, measurement)
    close(logger)


def close(logger: Any) -> None:
    """Close a logger that can be closed."""
    ending = getattr(logger, "close", None)
    if ending is not None:
        ending()
