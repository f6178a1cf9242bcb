"""Many files as one: the length of a list of paths and sizes, in 4 bytes, the list as JSON, and all content."""

import json
from collections.abc import Mapping


def joined(files: Mapping[str, bytes]) -> bytes:
    """Return files, by path, as one."""
    listed = json.dumps([[path, len(content)] for path, content in sorted(files.items())]).encode()
    return b"".join([len(listed).to_bytes(4, "little"), listed, *(files[path] for path in sorted(files))])
