"""The options of a configured sweep."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from massact.compose.stated import folder_architecture
from massact.config import Config
from massact.extract.options import SweepOptions
from massact.extract.plan import FORWARD_SHARE, forward_flops, matmul_flops_per_second
from massact.extract.probe import Probe

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource


def sweep_options(config: Config, source: CheckpointSource, device: str, progress: bool | None = None) -> SweepOptions:
    """The options of group `sweep`, completed from other groups and the terminal.

    Parameters
    ----------
    source
        The checkpoints, for the architecture of a model that only they describe.
    device
        The device of the model, for the estimate of time.
    progress
        Whether to show a progress bar. None: on a terminal, and for every stage but `run`.
    """

    architecture = config.model.architecture or folder_architecture(source)

    def seconds_each(probe: Probe) -> float:
        if architecture is None:
            return 0.0
        flops = forward_flops(architecture, *probe.tokens.shape)
        return flops / (FORWARD_SHARE * matmul_flops_per_second(config.protocol.dtype, device))

    return replace(
        config.sweep,
        suspects=config.checkpoints.suspects,
        seconds_each=seconds_each,
        progress=sys.stderr.isatty() or config.stage != "run" if progress is None else progress,
    )
