"""Only plain files are read, within a bound, and nothing is waited for."""

import io
import os
import socket

import pytest

from vmenter import LabError
from vmenter.code.files import _Plain, opened, read


def special(folder):
    """Return paths of what is no plain file."""
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to("fifo")
    (folder / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(folder / "socket"))
    return {
        folder / "fifo": "a pipe (FIFO), not a file",
        folder / "link": "a pipe (FIFO), not a file",
        folder / "socket": "a socket, not a file",
        folder: "a folder, not a file",
        folder / "circle": "symbolic links",
        folder / "none": "No such file",
        folder / "fifo" / "x": "Not a directory",
        f"{folder}/a\0b": "null",
        "/dev/zero": "a device, not a file",
        "/dev/tty": "a device",
    }


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    for path, says in special(tmp_path).items():
        with pytest.raises(LabError) as told:
            read(path, 10, "text")
        assert says in str(told.value), path
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_file_within_the_bound_is_read_whole(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(size))
    assert read(tmp_path / "x", 100, "text") == bytes(size)


@pytest.mark.parametrize("size", [101, 10 << 30])
def test_a_file_beyond_the_bound_is_not(tmp_path, size):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(size)
    with pytest.raises(LabError, match="x: more than 100 bytes; no text is that large"):
        read(tmp_path / "x", 100, "text")


def test_what_the_kernel_writes_when_it_is_read_is_read():
    assert b"Pid:" in read("/proc/self/status", 1 << 20, "status")
    with pytest.raises(LabError, match="more than 20 bytes"):
        read("/proc/self/status", 20, "status")


def test_an_error_while_it_is_read_is_said_as_one(tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(LabError, match="x: Input/output error"), opened(tmp_path / "x"):
        raise OSError(5, "Input/output error")


@pytest.mark.skipif(not hasattr(os, "set_blocking"), reason="needs descriptors that do not wait")
@pytest.mark.parametrize("ask", [lambda file: file.read(8), lambda file: file.read()])
def test_what_gives_nothing_yet_is_not_waited_for(ask):
    end, other = os.pipe()  # the kernel's log is a plain file by its kind, and gives nothing when all was read
    os.set_blocking(end, False)
    with io.BufferedReader(_Plain(end)) as file, pytest.raises(OSError, match="would have to be waited for"):
        ask(file)
    os.close(other)
