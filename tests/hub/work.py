"""What learners do: the honest work of a notebook, and everything that goes wrong in a room."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hub.learner import Learner, TroubleError, said
from hub.room import ROOT

EXERCISE = "02-1"
TRUTH = re.compile(r"Prediction \S+: the truth")
STARTER = 'answer = "00 00 00 00"'
RIGHT = f"""
from vmenter.course.exercises import check, exercise
exec(exercise("{EXERCISE}").solution)
print(check("{EXERCISE}", answer).passed)
"""


def own_answer(number: int) -> str:
    """Return an answer to the exercise that is this learner's alone, and wrong."""
    return f"{number % 256:02x} {number // 256 % 256:02x} ee ee"


def asserts(cell: dict[str, Any]) -> bool:
    """Tell whether a cell is none of a learner's."""
    return "assertion" in cell["metadata"].get("tags", [])


async def go_through(learner: Learner, path: str, answer: str | None = None) -> float:
    """Run every code cell of a notebook in order, answer an exercise in one's own words, save. Returns seconds.

    Raises `TroubleError` at the first cell that says anything else than the committed notebook, or tells a truth
    that nobody has guessed at.
    """
    start = time.monotonic()
    cells = await learner.open(path)
    original = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
    outputs = iter([said(one["outputs"]) for one in original if one["cell_type"] == "code" and not asserts(one)])
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        source, committed = "".join(cell["source"]), next(outputs)
        if cell["outputs"]:
            raise TroubleError(f"{path}, cell {number}: a fresh copy has outputs")
        own = answer is not None and STARTER in source
        if own:
            source = source.replace(STARTER, f'answer = "{answer}"')
        cell["source"], cell["outputs"] = source, await learner.run(source)
        heard = said(cell["outputs"])
        folded = TRUTH.match(committed[0][1] if committed else "")
        if folded and "guess first" not in heard[0][1]:
            raise TroubleError(f"{path}, cell {number}: a truth is told before the guess")
        waits = bool(re.search(r"\bonce_told\(", source))
        if waits and not any(text.startswith("(This comes with the truth of ") for _, text in heard):
            raise TroubleError(f"{path}, cell {number}: what a truth tells is shown before the guess")
        if any(kind in ("error", "stderr") for kind, _ in heard) or not (
            own or folded or waits or heard == committed
        ):
            raise TroubleError(f"{path}, cell {number}: {heard!r:.300} instead of {committed!r:.300}")
        if own and "Not yet" not in heard[0][1]:
            raise TroubleError(f"{path}, cell {number}: the exercise says {heard!r:.300}")
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for cell in cells:
        for output in cell.get("outputs", []):
            output.pop("transient", None)
    await learner.api("PUT", f"contents/{path}", {"type": "notebook", "format": "json", "content": notebook})
    await learner.close_tab()
    return time.monotonic() - start


async def kept(learner: Learner) -> tuple[bool, int, str]:
    """Return what the learner's progress file says of the exercise: passed, tries, last answer."""
    content = json.loads(await learner.file("progress.json"))
    entry = content["exercises"][EXERCISE]
    return entry["passed"], entry["tries"], entry["answer"]


async def must_be_kept(learner: Learner, expected: tuple[bool, int, str]) -> None:
    """Raise if the progress file says anything else of the exercise."""
    if (found := await kept(learner)) != expected:
        raise TroubleError(f"kept is {found}, not {expected}")


async def answer_it(learner: Learner, answer: str) -> None:
    """Give an answer in a kernel that may know nothing yet."""
    code = f'from vmenter.course.exercises import check; print(check("{EXERCISE}", "{answer}").passed)'
    heard = said(await learner.run(code))
    if heard != [("stdout", "False\n")]:
        raise TroubleError(f"a wrong answer: {heard}")


async def usable(learner: Learner) -> None:
    """Wait until the kernel, started anew by itself or by hand, answers again; the tab connects anew."""
    for _ in range(60):
        await learner.close_tab()
        with suppress(TroubleError, OSError):
            await learner.look()
            if said(await learner.run("print(6 * 7)", patience=5)) == [("stdout", "42\n")]:
                return
        await asyncio.sleep(0.5)
    raise TroubleError("the kernel does not come back")


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def endless_loop(learner: Learner) -> None:
    """A loop without end, interrupted; what was defined before is still there."""
    await learner.run("here = 'still here'")
    request = await learner.send("while True: pass")
    await learner.hear(request, begun=True)
    await asyncio.sleep(0.5)
    await learner.api("POST", f"kernels/{learner.kernel}/interrupt")
    heard = said(await learner.hear(request, 30)) + said(await learner.run("print(here)"))
    if heard != [("error", "KeyboardInterrupt: "), ("stdout", "still here\n")]:
        raise TroubleError(f"after an interrupt: {heard}")


async def flood(learner: Learner) -> None:
    """Print without end, interrupted."""
    request = await learner.send("while True: print('x' * 1000)")
    await learner.hear(request, begun=True)
    await asyncio.sleep(0.5)
    await learner.api("POST", f"kernels/{learner.kernel}/interrupt")
    if ("error", "KeyboardInterrupt: ") not in said(await learner.hear(request, 60)):
        raise TroubleError("a flood of output could not be interrupted")


async def restart(learner: Learner) -> None:
    """Restart the kernel in the middle of a cell."""
    await learner.hear(await learner.send("import time; time.sleep(60)"), begun=True)
    await learner.api("POST", f"kernels/{learner.kernel}/restart")
    await usable(learner)


async def crash(learner: Learner) -> None:
    """The kernel ends itself without a word."""
    await learner.send("import os; os._exit(3)")
    await usable(learner)


async def killed(learner: Learner) -> None:
    """The kernel is killed in the middle of a cell, as by a machine out of memory."""
    await learner.send("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    await usable(learner)


async def closed_tab(learner: Learner) -> None:
    """The connection breaks while an answer is being judged; the answer counts all the same."""
    _, tries, _ = await kept(learner)
    code = (
        f'import time; time.sleep(1); from vmenter.course.exercises import check; check("{EXERCISE}", "dropped")'
    )
    await learner.send(code)
    await asyncio.sleep(0.1)
    await learner.close_tab(rudely=True)
    end = time.monotonic() + 60
    while await kept(learner) != (True, tries + 1, "dropped"):
        if time.monotonic() > end:
            raise TroubleError(f"an answer was lost with the connection: {await kept(learner)}")
        await asyncio.sleep(0.2)
    await usable(learner)


async def greed(learner: Learner) -> None:
    """More memory than a learner may have: an error in that cell, and nothing else."""
    heard = said(await learner.run("hoard = bytearray(8 << 30)"))
    if [kind for kind, _ in heard] != ["error"] or not heard[0][1].startswith("MemoryError"):
        raise TroubleError(f"8 GiB in one cell: {heard}")


async def two_at_once(learner: Learner) -> None:
    """A second kernel writes to the same progress file at the same time; no answer is lost."""
    _, tries, _ = await kept(learner)
    many = f'from vmenter.course.exercises import check\nfor _ in range(10): check("{EXERCISE}", "both")'
    kernel, session = learner.kernel, learner.session
    first = await learner.send(many)
    tab = learner.socket
    await learner.open("notebooks/05-2019-else-if.ipynb")
    await learner.run(many)
    await learner.close_tab()
    await learner.api("DELETE", f"kernels/{learner.kernel}")
    learner.kernel, learner.session, learner.socket = kernel, session, tab
    await learner.hear(first)
    await must_be_kept(learner, (True, tries + 20, "both"))


async def go_and_come_back(learner: Learner) -> None:
    """Stop the own server, log in again: files as they were, no kernel."""
    await learner.leave()
    await learner.arrive()
    await learner.open("notebooks/02-patching-a-running-kernel.ipynb")


DEEDS: tuple[Callable[[Learner], Awaitable[None]], ...] = (
    endless_loop,
    flood,
    restart,
    crash,
    killed,
    closed_tab,
    greed,
    two_at_once,
    go_and_come_back,
)
