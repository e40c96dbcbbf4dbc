"""The Hydra application: `python run.py` in a checkout, `massact run` anywhere."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser  # Hydra has no public parser of its command line
from omegaconf import DictConfig

from massact import stages
from massact.config import register
from massact.disk import refused
from massact.errors import MassactError, MissingInputError
from massact.preflight import in_project, preflight
from massact.shipped import CONF
from massact.stops import Stopped, heed_signals

register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(composed: DictConfig) -> int:
    """Run one composition. Its status is in status.json in its output folder."""
    return stages.run_job(composed)


def main(project: Path | None = None) -> int:
    """Check the command line (`sys.argv`), run it, and return the exit status.

    0; 2 (an invalid value); 3 (checkpoints, disks, unexpected errors); 130 and 143 (Ctrl-C, SIGTERM).

    Parameters
    ----------
    project
        The checkout that paths on the command line refer to: any other folder is refused. None: any folder is valid.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a limited character set must not end the run
    heed_signals()
    arguments = get_args_parser().parse_args()
    if arguments.config_dir and not arguments.config_path:
        # Hydra searches the first folder first, so that a user's own files win over massact's of the same name.
        sys.argv += ["--config-path", str(Path(arguments.config_dir).resolve()), "--config-dir", str(CONF)]
    asks = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion
    traced = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        if not asks:
            own = Path(arguments.config_dir).resolve() if arguments.config_dir else None
            _check_folder(own)
            configs = preflight(arguments.overrides, CONF, multirun=arguments.multirun, own=own)
            if project is not None:
                in_project(configs, project)
            stages.begin(len(configs))
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it met instead of printing it
        job()
    except MassactError as error:
        return _refuse(error)
    except Stopped as stopped:
        sys.stderr.write(f"\nmassact: {stopped}\n")
        return stopped.exit_code
    except Exception as error:
        if traced:
            raise
        return _refuse(_outside(error))
    return stages.exit_code()


def _check_folder(own: Path | None) -> None:
    if own is not None and not own.is_dir():
        raise MissingInputError(f"--config-dir {own} is not a folder", "give the folder of your own configuration")


def _outside(error: Exception) -> MassactError:
    """What Hydra itself met, before a job began or after it ended."""
    if isinstance(error, OSError) and error.errno is not None:
        where = Path(str(error.filename)) if error.filename else Path.cwd()
        return refused(
            error, where if where.is_dir() else where.parent, 0, "write elsewhere (hydra.run.dir, hydra.sweep.dir)"
        )
    return stages.unforeseen(error, Path(tempfile.gettempdir()) / f"massact-{os.getpid()}")


def _refuse(error: MassactError) -> int:
    sys.stderr.write(f"massact: {error}\n")
    return error.exit_code
