"""What JupyterLite's kernel sets at its start; nothing reads it here."""

_PIPLITE_DISABLE_PYPI = True
_PIPLITE_URLS: list[str] = []
