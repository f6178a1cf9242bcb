"""The most memory this process has held at once."""

import re
import resource
import sys
from pathlib import Path


def peak() -> int:
    """Return bytes. On Linux from /proc: `ru_maxrss` of a child begins at what its parent held when it forked."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
