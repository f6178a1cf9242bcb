"""Fill a room: learners arrive at once, work through two notebooks, and then everything goes wrong.

`make hub-test LEARNERS=20`. Exit status 1 if anything went wrong for anybody.
"""

import argparse
import asyncio
import hashlib
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from hub.learner import Learner, TroubleError
from hub.recipes import mistakes
from hub.room import MIB, ROOT, Room, Use, use_of
from hub.work import DEEDS, EXERCISE, RIGHT, answer_it, go_through, kept, must_be_kept, own_answer, said

FIRST, SECOND = "notebooks/02-patching-a-running-kernel.ipynb", "notebooks/05-2019-else-if.ipynb"
DEEDS_EACH = 3  # three learners have done them all


def percentile(values: list[float], part: float) -> float:
    """Return the smallest value that `part` of all values do not exceed."""
    return sorted(values)[math.ceil(len(values) * part) - 1]


def course() -> dict[str, str]:
    """Return a digest of every file that learners share."""
    files = [*ROOT.glob("notebooks/*"), *ROOT.glob("lib/vmenter/**/*.py")]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


class Report:
    """What was measured, and what went wrong."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def wrong(self, trouble: str) -> None:
        """Count a failure, and say it at once."""
        self.troubles.append(trouble)
        print(f"FAILED  {trouble}", file=sys.stderr)

    async def all(
        self, what: str, learners: list[Learner], do: Callable[[Learner], Awaitable[float]]
    ) -> list[float]:
        """Let all learners do something at once; returns the seconds of those who could."""

        async def one(learner: Learner) -> float | None:
            try:
                return await do(learner)
            except (TroubleError, aiohttp.ClientError, OSError, KeyError, ValueError) as trouble:
                self.wrong(f"{learner.name}, {what}: {type(trouble).__name__}: {trouble}")
                return None

        done = [seconds for seconds in await asyncio.gather(*map(one, learners)) if seconds is not None]
        if len(done) == len(learners) and not any(done):
            print(f"{what:<28} {len(done):>3} of {len(learners)}")
        elif done:
            middle, late, last = statistics.median(done), percentile(done, 0.95), max(done)
            print(
                f"{what:<28} {len(done):>3} of {len(learners)}   median {middle:5.1f} s   p95 {late:5.1f} s   last {last:5.1f} s"
            )
        else:
            print(f"{what:<28}   0 of {len(learners)}")
        return done

    def memory(self, what: str, uses: Iterable[Use]) -> float:
        """Print what a learner takes; returns the median PSS in MiB."""
        uses = list(uses)
        pss, uss, rss, cpu = (
            [getattr(use, name) / unit for use in uses]
            for name, unit in (("pss", MIB), ("uss", MIB), ("rss", MIB), ("cpu", 1))
        )
        middle = statistics.median
        print(
            f"{what:<28} PSS {middle(pss):4.0f} MiB (largest {max(pss):.0f})   own alone {middle(uss):4.0f}   "
            f"RSS {middle(rss):4.0f}   CPU so far {middle(cpu):4.1f} s"
        )
        return middle(pss)


async def misbehave(learner: Learner, number: int) -> float:
    """Do three bad things; after each, an answer is given, and nothing that was kept is lost."""
    start = time.monotonic()
    await learner.open(FIRST)
    if said(await learner.run(RIGHT)) != [("stdout", "True\n")]:
        raise TroubleError("the solution does not pass")
    for turn in range(DEEDS_EACH):
        deed = DEEDS[(number * DEEDS_EACH + turn) % len(DEEDS)]
        try:
            await deed(learner)
            _, tries, _ = await kept(learner)
            answer = own_answer(number + 100 * turn)
            await answer_it(learner, answer)
            await must_be_kept(learner, (True, tries + 1, answer))
        except TroubleError as trouble:
            raise TroubleError(f"{deed.__name__}: {trouble}") from None
    await learner.close_tab()
    return time.monotonic() - start


async def fill(room: Room, count: int, report: Report) -> None:
    """Go through a workshop of `count` learners."""
    names = [f"learner-{number:02}" for number in range(1, count + 1)]
    numbers = {name: number for number, name in enumerate(names)}
    async with AsyncExitStack() as stack:
        learners = [
            await stack.enter_async_context(Learner(room.url, name, room.password)) for name in (*names, "witness")
        ]
        *crowd, witness = learners

        await report.all("from login to JupyterLab", crowd, Learner.arrive)
        report.memory("  server alone", [use_of(room.processes_of(name)) for name in names])
        await report.all(
            "02, every cell", crowd, lambda one: go_through(one, FIRST, own_answer(numbers[one.name]))
        )
        report.memory("  server and one kernel", [use_of(room.processes_of(name)) for name in names])
        await report.all("05, every cell", crowd, lambda one: go_through(one, SECOND))
        each = report.memory("  server and two kernels", [use_of(room.processes_of(name)) for name in names])
        own = use_of(room.own_processes(names))
        print(f"{'hub, proxy and culler':<28} PSS {own.pss / MIB:4.0f} MiB")
        print(f"so beside the system and the hub, each further GiB holds {1024 / each:.1f} learners")

        async def own_is_kept(learner: Learner) -> float:
            await must_be_kept(learner, (False, 1, own_answer(numbers[learner.name])))
            return 0.0

        await report.all("each keeps the own answer", crowd, own_is_kept)
        print(f"\nEverything goes wrong ({', '.join(deed.__name__.replace('_', ' ') for deed in DEEDS)})")
        await witness.arrive()
        await asyncio.gather(
            report.all("three of these each", crowd, lambda one: misbehave(one, numbers[one.name])),
            report.all("meanwhile one works on 05", [witness], lambda one: go_through(one, SECOND)),
        )
        await close(room, crowd[0], learners, report)


async def close(room: Room, first: Learner, learners: list[Learner], report: Report) -> None:
    """Everybody leaves; the culler stops the servers; one comes back and finds all as it was."""
    try:
        before = await kept(first)
    except TroubleError as trouble:
        report.wrong(f"{first.name}, at the end: {trouble}")
        return
    culler = room.closing_time()
    try:
        await report.all("left idle, stopped", learners, timed(Learner.until_down))
    finally:
        culler.terminate()
        culler.wait()
    if left := [learner.name for learner in learners if room.processes_of(learner.name)]:
        report.wrong(f"still running after the culler: {', '.join(left)}")

    async def return_(learner: Learner) -> float:
        seconds = await learner.arrive()
        await must_be_kept(learner, before)
        cells = (await learner.file(FIRST))["cells"]
        if not any(own_answer(0) in "".join(cell["source"]) and cell["outputs"] for cell in cells):
            raise TroubleError(f"the saved answer to {EXERCISE} is not in the learner's notebook")
        return seconds

    await report.all("one comes back", [first], return_)


def timed(do: Callable[[Learner], Awaitable[None]]) -> Callable[[Learner], Awaitable[float]]:
    """Return a function that does the same and returns its seconds."""

    async def timed_(learner: Learner) -> float:
        start = time.monotonic()
        await do(learner)
        return time.monotonic() - start

    return timed_


def main() -> int:
    """Fill a room and say how it went."""
    parser = argparse.ArgumentParser(description="Learners at a real JupyterHub on loopback")
    parser.add_argument("--learners", type=int, default=3)
    count = parser.parse_args().learners
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a test that is stopped stops its hub
    report, before, start = Report(), course(), time.monotonic()
    for mistake in mistakes():
        report.wrong(mistake)
    with tempfile.TemporaryDirectory(prefix="hub-test-") as folder:
        load = os.getloadavg()[0]
        print(f"{count} learners at once; {os.cpu_count()} cores, load before {load:.1f}")
        with Room(Path(folder)) as room:
            print(f"{'hub':<28} up after {time.monotonic() - start:.1f} s")
            asyncio.run(fill(room, count, report))
            if report.troubles:
                print(room.last_words(), file=sys.stderr)
    if course() != before:
        report.wrong("a file that all share was changed")
    print(f"\n{len(report.troubles)} failures, {time.monotonic() - start:.0f} s in all")
    return min(1, len(report.troubles))


if __name__ == "__main__":
    sys.exit(main())
