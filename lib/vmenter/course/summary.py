"""What of the course's exercises is done: exercises passed, tried and open, notebook by notebook."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from vmenter.course.exercises import every
from vmenter.course.progress import Progress, load

PASSED, TRIED, OPEN = ("passed", "✔"), ("tried", "…"), ("open", "○")


@dataclass(frozen=True)
class Summary:
    """What of the course's exercises is done, as text and as a table."""

    progress: Progress
    rows: tuple[tuple[str, str, tuple[str, str]], ...]  # (id, title, state) of every exercise

    @property
    def place(self) -> str:
        """Say where it is kept and how it is reset."""
        if self.progress.trouble:
            return self.progress.trouble
        if self.progress.file is None:
            return "Progress is not kept here: there is no place for it, or VMENTER_PROGRESS=off says so."
        forget = 'progress.reset() forgets everything, progress.reset("05") one notebook'
        return f"Kept in {self.progress.file}, a text file of yours. {forget}."

    @property
    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yield each notebook and its exercises."""
        for notebook in dict.fromkeys(id_[:2] for id_, _, _ in self.rows):
            mine = [(id_, state) for id_, _, state in self.rows if id_.startswith(notebook)]
            yield notebook, "   ".join(f"{id_} {sign} {word}" for id_, (word, sign) in mine)

    def __repr__(self) -> str:
        """Return it as text."""
        done = sum(state == PASSED for _, _, state in self.rows)
        table = [f"{notebook}   {line}" for notebook, line in self._lines]
        return "\n".join([f"{done} of {len(self.rows)} exercises passed", *table, self.place])

    def _repr_html_(self) -> str:
        done = sum(state == PASSED for _, _, state in self.rows)
        left = ' style="text-align:left"'
        body = "".join(
            f'<tr><th scope="row">{notebook}</th><td{left}>{escape(line)}</td></tr>'
            for notebook, line in self._lines
        )
        head = "".join(f'<th scope="col"{left}>{name}</th>' for name in ("Notebook", "Exercises"))
        caption = f"<caption{left}>{done} of {len(self.rows)} exercises passed</caption>"
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{escape(self.place)}</p>"


def summary() -> Summary:
    """Return what is done, for display: exercises passed, tried and open, notebook by notebook."""
    kept = load()
    states = {id_: PASSED if attempt.passed else TRIED for id_, attempt in kept.exercises.items()}
    return Summary(kept, tuple((id_, task.title, states.get(id_, OPEN)) for id_, task in every().items()))
