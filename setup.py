"""Puts conf/ into the wheel as bidnn/conf, so that the programs run away from the repository."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSettings(build_py):
    """What pyproject.toml names, and conf/."""

    def run(self) -> None:
        """Copies both; an editable install reads conf/ where it is."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "bidnn" / "conf"
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            shutil.copytree("conf", target)


setup(cmdclass={"build_py": BuildWithSettings})
