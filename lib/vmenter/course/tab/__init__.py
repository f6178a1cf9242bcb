"""The course as static files that run in a browser's tab (`make tab`): JupyterLite, with Python in WebAssembly.

The same library, notebooks and texts as on the desktop; where code reaches a native library there, it reaches a
part in WebAssembly here. All of it is pinned and lies in one folder, which asks nothing of other hosts. The
readable site lies beside it, and each leads to the other.
"""
