"""In JupyterLite's place: what `%pip` reaches in the tab, where nothing is asked of other hosts."""
