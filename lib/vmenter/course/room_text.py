"""A room's progress as a table and as JSON."""

from collections.abc import Iterator
from typing import Any

from vmenter.course.room import PASSED, TRIED, Learner, Room

SIGNS = {PASSED: "✔", TRIED: "…"}
OPEN = "○"


def table(room: Room) -> Iterator[str]:
    """Yield the table's lines: learners × exercises, one sign each; names stand last, so that any fits."""
    notebooks: dict[str, list[str]] = {}
    for id_ in room.exercises:
        notebooks.setdefault(id_[:2], []).append(id_)
    widths = {notebook: max(2, len(ids)) for notebook, ids in notebooks.items()}
    all_ = len(room.exercises)
    yield " ".join(f"{notebook:<{widths[notebook]}}" for notebook in notebooks) + "  notebook"
    numbers = {notebook: "".join(id_[-1] for id_ in ids) for notebook, ids in notebooks.items()}
    yield " ".join(f"{numbers[notebook]:<{widths[notebook]}}" for notebook in notebooks) + "  exercise"
    for one in room.learners:
        parts = (
            "".join(SIGNS.get(one.states.get(id_, ""), OPEN) for id_ in ids).ljust(widths[notebook])
            for notebook, ids in notebooks.items()
        )
        yield f"{' '.join(parts)}  {one.passed:>2} of {all_}  {one.name}"
    yield f"{SIGNS[PASSED]} passed   {SIGNS[TRIED]} tried, not passed   {OPEN} not begun"
    if room.stuck and len(room.learners) > 1:
        yield "Tried and not passed by most: " + ", ".join(
            f"{id_} ({count} of {len(room.learners)})" for id_, count in list(room.stuck.items())[:5]
        )
    for one_ in room.unread:
        yield f"Not read: {one_.where}: {one_.why}"


def to_json(room: Room) -> dict[str, Any]:
    """Return the same as JSON's data."""
    return {
        "exercises": list(room.exercises),
        "learners": [_learner(one) for one in room.learners],
        "stuck": room.stuck,
        "unread": [{"where": one.where, "why": one.why} for one in room.unread],
    }


def _learner(one: Learner) -> dict[str, Any]:
    by = {word: [id_ for id_, state in one.states.items() if state == word] for word in (PASSED, TRIED)}
    return {"name": one.name, **by, "source": one.source}
