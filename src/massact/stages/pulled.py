"""The pipeline's first stage: whether the shipped checkpoints are here. `python -m massact.stages.pulled STAMP`."""

from __future__ import annotations

import sys
from pathlib import Path

from massact.disk import write_text
from massact.errors import MassactError

SHIPPED = Path("data/pocket")


def main(stamp: Path) -> int:
    """Write the stamp, or name the command that brings the data and return 1."""
    if not Path("params.yaml").is_file():
        sys.stderr.write(f"massact: {Path.cwd()} is not the project's folder; run it there: cd to the clone\n")
        return 1
    if not any(SHIPPED.glob("*/step0/model.safetensors")):
        sys.stderr.write("massact: the shipped checkpoints are not here; bring them with: dvc pull -R data\n")
        return 1
    try:
        write_text(stamp, "the shipped checkpoints are here\n")
    except MassactError as error:
        sys.stderr.write(f"massact: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
