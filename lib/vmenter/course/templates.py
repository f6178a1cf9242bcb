"""Templates of the course's pages, filled by Jinja: a name that is not given is an error, and text is escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates(folder: Path) -> Environment:
    """Return what fills the templates of a folder. Values that hold HTML are marked so by who gives them."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
