"""massact's pipeline: `python run.py`, `python run.py -m model=pocket-a,pocket-b`, `python run.py stage=extract`."""

import sys
from pathlib import Path

from massact.app import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent))
