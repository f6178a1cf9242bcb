"""How far the learners of a room are: read from their files of progress, or from lines that they pasted.

Of a file nothing is taken but which exercises were passed or tried: no answer, no guess. Nothing is ever written.
A line holds the same in some 100 signs, and no name unless its learner gave one::

    Ada: VML1-00p-01pptnnnn-02p-5f3c

VML1 is the form's name; then, for each notebook with anything done, its number and a letter for each exercise in
order (p passed, t tried, n neither); last four hexadecimal digits, by which a cut or changed line is known.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from vmenter import LabError
from vmenter.code.files import read
from vmenter.course import copies, progress
from vmenter.course.exercises import every

PASSED, TRIED = "passed", "tried"
MOST_LEARNERS = 1000
MOST_FOLDERS = 10_000  # looked into in one folder that is named
LONGEST_TEXT = 1 << 20  # bytes of a text with pasted lines: 1,000 lines take 100,000
LONGEST_NAME = 60
WINDOW = 500  # signs before a line in which its name is looked for
# Where a learner's file stands in a home: as a hub keeps it, as `vmenter lab` alone does, in a container's volume.
PLACES = (
    "progress.json",
    "vmenter-lab/progress.json",
    ".local/share/vmenter/progress.json",
    "_data/vmenter-lab/progress.json",
)

_LETTERS = {PASSED: "p", TRIED: "t"}
_STATES = {letter: state for state, letter in _LETTERS.items()}
# A chat may fold a line behind a dash, and quote it.
_LINE = re.compile(
    r"VML1((?:-\s{0,2}(?:>\s?)?[0-9]{2}[ptn]{1,99}){0,99})-\s{0,2}(?:>\s?)?([0-9a-f]{4})(?![0-9a-z])"
)
_LOOKS_LIKE = re.compile(r"VML[0-9]")
_CHECK = re.compile(r"([0-9]{2})([ptn]+)")
# What chats put around a name: quotes, bullets, the time.
_AROUND = re.compile(r"^[\s>*•-]+|[\[(][^\])]{0,40}[\])]|\b\d{1,2}:\d\d(?::\d\d)?(?:\s?[AaPp][Mm])?\b")


class Learner(NamedTuple):
    """One learner: exercise id → PASSED or TRIED, of what was begun. `source` is the file it was read from."""

    name: str
    states: Mapping[str, str]
    source: str

    @property
    def passed(self) -> int:
        """How many exercises are passed."""
        return sum(state == PASSED for state in self.states.values())


@dataclass(frozen=True)
class Unread:
    """What could not be read, and why."""

    where: str
    why: str


@dataclass(frozen=True)
class Room:
    """What was read: `exercises` are the course's ids in order, `learners` sorted by name."""

    exercises: tuple[str, ...]
    learners: tuple[Learner, ...]
    unread: tuple[Unread, ...]

    @property
    def stuck(self) -> dict[str, int]:
        """Exercises that were tried and not passed yet → by how many learners; most of them first."""
        found = Counter(id_ for id_ in self.exercises for one in self.learners if one.states.get(id_) == TRIED)
        return dict(found.most_common())


def look(sources: Sequence[str], standard_input: bytes = b"") -> Room:
    """Read files, folders and pasted lines; ``-`` stands for what came on standard input.

    What cannot be read is told in the result. Raises `LabError` for more than `MOST_LEARNERS`, and for nobody.
    """
    learners: dict[tuple[str, str], Learner] = {}  # by name and source
    unread: list[Unread] = []
    for source in dict.fromkeys(sources):
        if source == "-":
            found = _from(standard_input, "standard input", "you")
        elif Path(source).is_dir():
            found = _folder(Path(source).resolve())
        else:
            found = _file(Path(source).resolve(), _owner(Path(source).resolve()))
        for one in found:
            if isinstance(one, Learner):
                learners[one.name, one.source] = one
            else:
                unread.append(one)
            if max(len(learners), len(unread)) > MOST_LEARNERS:
                raise LabError(f"more than {MOST_LEARNERS:,} learners; name fewer folders or files at a time")
    if not learners:
        raise LabError(f"{unread[0].where}: {unread[0].why}")
    count = Counter(name for name, _ in learners)
    apart = [
        one._replace(name=f"{one.name} ({one.source})") if count[one.name] > 1 else one
        for one in learners.values()
    ]
    return Room(tuple(every()), tuple(sorted(apart, key=lambda one: one.name)), tuple(unread))


def own() -> Room:
    """Return the room of one: whoever asks."""
    kept = progress.load()
    if kept.trouble:
        raise LabError(kept.trouble)
    if kept.file is None:
        raise LabError("progress is not kept here: there is no place for it, or VMENTER_PROGRESS=off says so")
    return Room(tuple(every()), (Learner("you", _states(kept.exercises), str(kept.file)),), ())


def own_line(name: str = "") -> str:
    """Return one's own progress as a line to paste. `LabError` for a name that is none, or where none is kept."""
    if len(name) > LONGEST_NAME or "\n" in name:
        raise LabError(f"a name here is one line of {LONGEST_NAME} signs at most")
    return line(own().learners[0].states, name)


# --- files -------------------------------------------------------------------------------------------------------


def _folder(folder: Path) -> Iterator[Learner | Unread]:
    """Yield those whose homes are in a folder, or whose home it is. Links in homes are not followed."""
    try:
        inside = [path for path in islice(folder.iterdir(), MOST_FOLDERS + 1) if _plain(path, folder=True)]
    except OSError as error:
        yield Unread(str(folder), error.strerror or str(error))
        return
    if len(inside) > MOST_FOLDERS:
        yield Unread(str(folder), f"more than {MOST_FOLDERS:,} folders are in it; name them in parts")
        return
    anybody = False
    for home in (folder, *sorted(inside)):
        met: Learner | None = None
        for file in (home / place for place in PLACES):
            ways = [part for part in file.parents if part != home and part.is_relative_to(home)]
            if not (all(_plain(part, folder=True) for part in ways) and _plain(file)):
                continue
            for one in _file(file, home.name if home != folder else _owner(file)):
                if isinstance(one, Unread):
                    yield one
                else:
                    met = _both(met, one)
        begun = home / copies.FOLDER  # the copies are there, and no exercise has been tried
        if met is None and _plain(begun, folder=True) and _plain(begun / copies.STATE):
            met = Learner(home.name[:LONGEST_NAME], {}, str(begun))
        if met:
            anybody = True
            yield met
        if met and home == folder:
            return
    if not anybody:
        yield Unread(str(folder), "nobody's progress.json is in it, nor in the folders of it that may be entered")


def _plain(path: Path, *, folder: bool = False) -> bool:
    """Tell whether something is a file (a folder), and no link to one."""
    try:
        return not path.is_symlink() and (path.is_dir() if folder else path.is_file())
    except OSError:  # it may not be looked at
        return False


def _owner(file: Path) -> str:
    """Return whose file it seems to be: the name of the home around it, or its own."""
    for place in sorted(PLACES, key=len, reverse=True):
        parts = Path(place).parts
        if file.parts[-len(parts) :] == parts:
            return file.absolute().parents[len(parts) - 1].name or file.name
    return file.stem


def _file(file: Path, name: str) -> Iterator[Learner | Unread]:
    try:
        data = read(file, progress.LARGEST, "progress, nor a text of pasted lines,")
    except LabError as error:
        yield Unread(str(file), str(error).removeprefix(f"{file}: "))
        return
    yield from _from(data, str(file), name)


def _from(data: bytes, source: str, name: str) -> Iterator[Learner | Unread]:
    attempts = progress.attempts(data)
    if attempts is not None:
        yield Learner(name[:LONGEST_NAME], _states(attempts), source)
        return
    if len(data) > LONGEST_TEXT:
        why = f"no progress.json, and more than {LONGEST_TEXT:,} bytes; no text of pasted lines is that long"
        yield Unread(source, why)
        return
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")
    pasted: dict[str, Learner] = {}
    found = False
    for one in lines(text, source):
        found = True
        if isinstance(one, Learner):
            pasted[one.name] = _both(pasted.get(one.name), one)
        else:
            yield one
    yield from pasted.values()
    if not found:
        yield Unread(source, "neither a learner's progress.json nor what `vmenter progress --line` prints")


def _states(attempts: Mapping[str, progress.Attempt]) -> dict[str, str]:
    """Return what is known of the course's exercises; of others that a file names, nothing."""
    return {id_: PASSED if attempts[id_].passed else TRIED for id_ in every() if id_ in attempts}


def _both(before: Learner | None, one: Learner) -> Learner:
    """Return who is met again (a line pasted later, another file of one home): what was passed stays passed."""
    if before is None:
        return one
    kept = {id_: state for id_, state in before.states.items() if state == PASSED or id_ not in one.states}
    return before._replace(states={**one.states, **kept})


# --- lines -------------------------------------------------------------------------------------------------------


def line(states: Mapping[str, str], name: str = "") -> str:
    """Return what can be pasted: which exercises are passed and tried, and nothing else of a learner."""
    notebooks: dict[str, str] = {}
    for id_ in every():
        notebook, _, number = id_.partition("-")
        letters = notebooks.get(notebook, "").ljust(int(number) - 1, "n")
        notebooks[notebook] = letters + _LETTERS.get(states.get(id_, ""), "n")
    done = "".join(f"-{number}{letters}" for number, letters in notebooks.items() if letters.strip("n"))
    return f"{name + ': ' if name else ''}VML1{done}-{_sum(done)}"


def lines(text: str, source: str) -> Iterator[Learner | Unread]:
    """Yield the learners whose lines stand in a text, as a chat gives it; what only looks like one is unread."""
    known = set(every())
    end, counted, number = 0, 0, 1
    for found in _LOOKS_LIKE.finditer(text):
        if found.start() < end:
            continue
        number += text.count("\n", counted, found.start())
        counted = found.start()
        whole = _LINE.match(text, found.start())
        done = re.sub(r"[\s>]", "", whole[1]) if whole else ""
        if whole is None or _sum(done) != whole[2]:
            yield Unread(
                f"{source}, line {number}", "a line of progress that was cut or changed; ask for it again"
            )
            continue
        end = whole.end()
        states = {
            f"{notebook}-{place}": _STATES[letter]
            for notebook, letters in _CHECK.findall(done)
            for place, letter in enumerate(letters, 1)
            if letter in _STATES
        }
        name = _name(text[max(0, found.start() - WINDOW) : found.start()]) or f"(line {number})"
        yield Learner(name, {id_: state for id_, state in states.items() if id_ in known}, source)


def _sum(done: str) -> str:
    return f"{zlib.crc32(done.encode()) & 0xFFFF:04x}"


def _name(before: str) -> str:
    """Return who pasted a line, from what stands before it: in the same line, else in the one above.

    Where the chat puts one name there and the learner another, it is the learner's: the nearest.
    """
    *above, same = before.rsplit("\n", 2)[-2:]
    for part in (same, *above):
        name = _AROUND.sub("", _AROUND.sub("", part[-200:])).strip(" \t\r:–—-,|<>`*")
        name = re.split(r"[:>]\s+", name)[-1]
        if name and not _LOOKS_LIKE.search(name):
            return name[:LONGEST_NAME]
    return ""
