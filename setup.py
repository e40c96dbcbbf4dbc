"""Put conf/ and the shipped text into the wheel, below massact/; everything else is declared in pyproject.toml.

A checkout keeps them at its top, where Hydra and DVC read them.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """The package and copies of the configuration and the text; an editable install needs none."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            for folder in ("conf", "data/corpus"):
                shutil.copytree(folder, Path(self.build_lib, "massact", folder), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConf})
