"""The pipeline's first stage: whether the shipped checkpoints are here. `python -m massact.stages.pulled STAMP`."""

from __future__ import annotations

import sys
from pathlib import Path

SHIPPED = Path("data/pocket")


def main(stamp: Path) -> int:
    """Write the stamp, or name the command that brings the data and return 1."""
    if not any(SHIPPED.glob("*/step0/model.safetensors")):
        sys.stderr.write("massact: the shipped checkpoints are not here; bring them with: dvc pull -R data\n")
        return 1
    stamp.write_text("the shipped checkpoints are here\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
