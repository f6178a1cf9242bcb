"""`%pip` in a cell says that it has nothing to do here."""

SAID = "All that the course needs is here; the tab installs nothing, since it asks nothing of other hosts."


async def get_transformed_code(argv: list[str]) -> str:  # noqa: ARG001  (as JupyterLite's kernel calls it)
    """Return the code that takes the place of a line with `%pip`."""
    return f"print({SAID!r})"
