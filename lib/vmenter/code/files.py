"""Read a file that somebody names: never more than a bound, and never waiting.

A FIFO, a terminal or a device may give nothing or never end, and a sparse file has any size: only plain files are
read, and of those no more than asked for. What opens is looked at again, so that no exchange in between can hang.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vmenter import LabError, in_browser

# A tab has nothing to wait for, and its drive writes a file opened with this flag back when it is closed.
_NEVER_WAITING = 0 if in_browser() else getattr(os, "O_NONBLOCK", 0)
_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


class _Plain(io.FileIO):
    """A file that is never waited for: what gives nothing yet (the kernel's log, a trace) is an error."""

    def readinto(self, buffer: Any, /) -> int:
        """Do what a file does; `OSError` where it gives nothing."""
        found: int | None = super().readinto(buffer)
        if found is None:
            raise _nothing_yet()
        return found

    def readall(self) -> bytes:
        """Do what a file does; `OSError` where it gives nothing."""
        found: bytes | None = super().readall()
        if found is None:
            raise _nothing_yet()
        return found


def _nothing_yet() -> OSError:
    return OSError(errno.EAGAIN, "gives nothing now, and would have to be waited for")


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a plain file for reading. Raises `LabError` for anything else, at once."""
    try:
        _demand_plain(path, Path(path).stat().st_mode)
        flags = os.O_RDONLY | _NEVER_WAITING | getattr(os, "O_BINARY", 0)
        file = io.BufferedReader(_Plain(os.open(path, flags)))
    except LabError:
        raise
    except (OSError, ValueError) as error:  # a path with a NUL byte is a ValueError
        raise LabError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    with file:
        try:
            _demand_plain(path, os.fstat(file.fileno()).st_mode)
            yield file
        except OSError as error:
            raise LabError(f"{path}: {error.strerror or error}") from None


def _demand_plain(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise LabError(f"{path}: {kind}, not a file; give a file, or put what it gives into one first")


def read(path: str | Path, most: int, what: str) -> bytes:
    """Return a plain file's bytes. Raises `LabError` above `most`: ``no {what} is that large``."""
    with opened(path) as file:
        return read_open(file, most, str(path), what)


def read_open(file: BinaryIO, most: int, name: str, what: str) -> bytes:
    """Do what `read` does, with a file that is open, from where it stands."""
    size = os.fstat(file.fileno()).st_size  # 0 for what the kernel writes when it is read, such as /proc/kallsyms
    data = b"" if size > most else file.read((size or most) + 1)
    if max(size, len(data)) > most:
        raise LabError(f"{name}: more than {most:,} bytes; no {what} is that large")
    return data
