"""The commits of the story as a timeline: a list in the order of time, each entry opens to say more.

Plain HTML, no script: an ordered list for screen readers, each entry a disclosure that the keyboard opens. Its
twin in words is its `repr`.
"""

import datetime as dt
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.story.history import ERAS, Era

KINDS = {"merged": "M", "posted": "P", "built": "B"}
WIDTH = 96  # columns of the twin
GAP = 3  # months; a shorter time between two entries needs no word


@dataclass(frozen=True)
class Moment:
    """One entry: when, in which release, what it is called, and what changed."""

    date: str  # ISO, the day it became public
    release: str
    id: str
    title: str
    text: str
    kind: str = "merged"
    sources: tuple[str, ...] = ()
    dated: str = "public"  # what the date is: posted, or public at once
    later: tuple[tuple[str, str], ...] = ()  # further dates, as (what, day)

    @property
    def further(self) -> tuple[str, ...]:
        """The other dates in words, as one sentence; none where there are none."""
        parts = ", ".join(f"{what} {day}" for what, day in self.later)
        return (f"({parts[0].upper()}{parts[1:]}.)",) if parts else ()

    @property
    def day(self) -> dt.date:
        """The date as one."""
        try:
            return dt.date.fromisoformat(self.date)
        except ValueError:
            raise LabError(f"{self.id}: {self.date!r} is no date like 2024-02-13") from None


@dataclass(frozen=True)
class Timeline:
    """Moments in the order of time; one of them may be the one that the page is about."""

    moments: tuple[Moment, ...]
    here: str | None = None  # the id of that one

    def __post_init__(self) -> None:
        for moment in self.moments:
            if moment.kind not in KINDS:
                raise LabError(f"{moment.id}: a moment is {' or '.join(KINDS)}, not {moment.kind!r}")
        if self.here is not None and self.here not in {moment.id for moment in self.moments}:
            raise LabError(f"no moment {self.here!r}; there are {', '.join(moment.id for moment in self.moments)}")
        object.__setattr__(self, "moments", tuple(sorted(self.moments, key=lambda moment: moment.day)))

    @property
    def text(self) -> str:
        """The timeline in words."""
        rows = []
        for index, moment in enumerate(self.moments):
            if gap := self._gap(index):
                rows.append(f"    … {gap} later …")
            mark = "→" if moment.id == self.here else " "
            rows.append(
                f"{mark} {moment.date} {moment.dated:<6}  {moment.release:<9}  {moment.kind:<6}  "
                f"{moment.id}: {moment.title}"
            )
            rows += textwrap.wrap(
                " ".join((moment.text, *moment.further)), WIDTH, initial_indent="    ", subsequent_indent="    "
            )
        return "\n".join(rows)

    def __repr__(self) -> str:
        return self.text

    @property
    def html(self) -> str:
        """The timeline as HTML, its style included."""
        entries = "".join(self._entry(index, moment) for index, moment in enumerate(self.moments))
        name = "The commits, in the order in which they became public"
        return f'<style>{_style()}</style><div class="vm vm-timeline"><ol aria-label="{name}">{entries}</ol></div>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.text, "text/html": self.html}

    def _gap(self, index: int) -> str:
        """Return how long nothing happened before this entry, if that is worth a word."""
        if index == 0:
            return ""
        before, now = self.moments[index - 1].day, self.moments[index].day
        months = (now.year - before.year) * 12 + now.month - before.month - (now.day < before.day)
        if months < GAP:
            return ""
        years, months = divmod(months, 12)
        parts = [f"{n} {unit}{'s' * (n > 1)}" for n, unit in ((years, "year"), (months, "month")) if n]
        return " ".join(parts)

    def _entry(self, index: int, moment: Moment) -> str:
        is_here = moment.id == self.here
        current, opened = (' aria-current="true"', " open") if is_here else ("", "")
        gap = self._gap(index)
        waited = f'<span class="vm-waited">{gap} later</span> ' if gap else ""
        sources = "".join(f"<li>{escape(source)}</li>" for source in moment.sources)
        listed = f"<ul>{sources}</ul>" if sources else ""
        return (
            f'<li class="vm-{moment.kind}"{current}>{waited}'
            f"<details{opened}><summary>"
            f'<span class="vm-kind" aria-hidden="true">{KINDS[moment.kind]}</span> '
            f'<time datetime="{escape(moment.date)}">{escape(moment.date)}</time> {escape(moment.dated)} '
            f'<span class="vm-release">{escape(moment.release)}</span> '
            f"<strong>{escape(moment.title)}</strong> "
            f'<span class="vm-hidden">{moment.kind}</span> <code>{escape(moment.id)}</code></summary>'
            f"<p>{escape(' '.join((moment.text, *moment.further)))}</p>{listed}</details></li>"
        )


@cache
def _style() -> str:
    sheets = (Path(__file__).parents[1] / "common.css", Path(__file__).with_name("timeline.css"))
    return " ".join(" ".join(sheet.read_text(encoding="utf-8") for sheet in sheets).split())


def timeline(eras: Iterable[Era] = ERAS.values(), here: str | None = None) -> Timeline:
    """Return the timeline of these eras; `here` is the id of the one that the page is about."""
    return Timeline(tuple(_moment(era) for era in eras), here)


def _moment(era: Era) -> Moment:
    return Moment(
        date=era.date,
        release=era.release,
        id=era.id,
        title=era.title,
        text=era.reason,
        kind="merged" if era.commit else "posted",
        dated=era.dated,
        later=era.later,
        sources=tuple(f"{source.kind} {source.ref}: {source.what}" for source in era.sources),
    )
