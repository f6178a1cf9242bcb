"""How much work something is, counted and not timed: the same on every machine, however busy it is."""

import sys
from contextlib import contextmanager

from vmenter.emulator.machine import Machine


@contextmanager
def calls(most):
    """Fail if what is done inside calls more functions than this, Python's own among them."""
    done = 0

    def count(_frame, event, _what):
        nonlocal done
        done += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
        assert done <= most, f"{done:,} calls, where {most:,} are enough"


@contextmanager
def emulated():
    """Give a list whose one number is how many instructions all machines have run inside."""
    done, execute = [0], Machine._execute

    def counted(self, address):
        try:
            return execute(self, address)
        finally:
            done[0] += len(self.steps) + self._rounds

    Machine._execute = counted
    try:
        yield done
    finally:
        Machine._execute = execute
