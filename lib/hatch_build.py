"""Put the course into the wheel: notebooks, pictures and translations, where `vmenter lab` looks for them.

A checkout has them beside `lib`, and an editable installation leaves them there.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = {
    "notebooks": ("*.ipynb", "*.md"),
    "images": ("*.svg", "*.png"),
    "translations": ("**/*.md", "**/*.toml"),
}


class Course(BuildHookInterface):
    """Adds the course's files to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name each file, and its place in the wheel. `version` is "editable" for a checkout that is installed."""
        if version == "editable":
            return
        course = Path(self.root).parent
        for part, patterns in PARTS.items():
            files = sorted(path for pattern in patterns for path in (course / part).glob(pattern))
            if not files:
                raise FileNotFoundError(
                    f"{course / part}: no files of the course; the wheel is built in a checkout"
                )
            for path in files:
                build_data["force_include"][str(path)] = (
                    f"vmenter/course/whole/{path.relative_to(course).as_posix()}"
                )
