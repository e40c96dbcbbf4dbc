"""massact's entry point: `python run.py`, `python run.py -m model=pocket-a,pocket-b`, `python run.py stage=extract`."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from massact import stages
from massact.config import register
from massact.errors import MassactError
from massact.preflight import preflight

CONF = Path(__file__).parent / "conf"
register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(composed: DictConfig) -> int:
    """One composition; what happened is in its output folder's status.json."""
    return stages.run_job(composed)


def main() -> int:
    """Check the command line, run it, and return the exit status: 0, 2 (a value) or 3 (checkpoints)."""
    arguments = get_args_parser().parse_args()
    if not (arguments.help or arguments.hydra_help or arguments.cfg or arguments.info):
        try:
            preflight(arguments.overrides, CONF, multirun=arguments.multirun)
        except MassactError as error:
            sys.stderr.write(f"massact: {error}\n")
            return error.exit_code
    job()
    return stages.exit_code()


if __name__ == "__main__":
    sys.exit(main())
