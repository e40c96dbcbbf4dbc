"""Put conf/ into the wheel, as massact/conf; everything else is declared in pyproject.toml.

A checkout keeps conf/ at its top, where Hydra and DVC read it.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """The package and a copy of the configuration; an editable install needs no copy."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("conf", Path(self.build_lib, "massact", "conf"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConf})
