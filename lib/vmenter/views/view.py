"""What all views share."""

from pathlib import Path

HERE = Path(__file__).parents[1]


def read(*names: str) -> str:
    """Return the text of files of this package, named from its folder on, one after another."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
