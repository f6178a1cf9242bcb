"""A deck: about twelve slides of a notebook, written for a room in decks/NN.md, with notes for whoever speaks.

A deck holds what a room looks at while somebody speaks, and no result of its own: drawings, what cells printed,
questions and truths are taken from the notebook as it was run. `## ` starts a slide. On a line of its own:

    :picture NAME | words          a drawing of images/
    :shows TEXT                    the drawing that the first cell with TEXT in it shows
    :bench SAMPLE | FEATURE …      a site of the lab, patched for these features, as PatchBench draws its last step
    :part ERA | FUNCTION           one function of an era's code, with all that can stand at its sites
    :prints TEXT | 2-5 8           what that cell printed, or some lines of it
    :source TEXT | 2-5             that cell itself
    :task 05-1                     an exercise's title and minutes
    :asks 05-a                     the questions of a prediction; the slide ends with
    :question                      a question that stands in the deck itself; it ends with :tells, too
    :tells  or  :tells 2-5         … and the next one tells the truth, with lines of what comes along, or `none`
    :ask, :show                    here the speaker asks and shows what INSTRUCTOR says
    Say: …                         a note for the speaker, up to an empty line

First comes a cover, last the summary and the review questions, all from the notebook.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag

from vmenter import LabError
from vmenter.course import exercises
from vmenter.course.prediction import questions
from vmenter.course.slides import drawn
from vmenter.course.slides.leader import Part
from vmenter.course.slides.render import drawing, drawing_in, inline, printed, rendered, svg_url, text_in
from vmenter.course.slides.wanted import lines_of
from vmenter.views.drawings.diagram import Diagram

HERE = Path(__file__).parent
DECKS = HERE / "decks"
ROOMY = 700  # characters, where an item of a list counts for a line
OWN = "own"  # a question of the deck, which is no prediction of the notebook


@dataclass(frozen=True)
class Slide:
    """One slide. `notes`: (label, text) for the speaker. `about`: the prediction that is asked or told."""

    title: str  # as HTML
    body: str
    kind: str = "text"
    notes: tuple[tuple[str, str], ...] = ()
    about: str = ""

    @property
    def roomy(self) -> bool:
        """Tell whether there is so little on it that it can be set larger."""
        page = BeautifulSoup(self.body, "html.parser")
        return (
            not page.find(["img", "pre", "table"]) and len(page.get_text()) + 60 * len(page.find_all("li")) < ROOMY
        )


@dataclass(frozen=True)
class Source:
    """What a deck is made from: the notebook as it was run, INSTRUCTOR's part, the folder of the pictures."""

    notebook: Any
    leader: Part
    images: Path

    def cells(self, text: str) -> list[Any]:
        """Return the code cells with this text in them or in what they printed. `LabError` if there are none."""
        code = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        found = [one for one in code if text in one.source] or [
            one for one in code if text in text_in(one.outputs)
        ]
        if not found:
            raise LabError(f"no cell of the notebook has {text!r}")
        return found

    def cell(self, text: str) -> Any:
        """Return the first of them."""
        return self.cells(text)[0]


def slides(number: str, source: Source, decks: Path = DECKS) -> list[Slide]:
    """Return the slides of a notebook. `LabError` if it has no deck, or its deck asks for what is not there."""
    path = decks / f"{number}.md"
    if not path.is_file():
        raise LabError(
            f"{path}: notebook {number} has no deck; write one, about eight slides, like those beside it"
        )
    written = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    try:
        return [_cover(source), *(one for text in written for one in _written(text, source)), *_last(source)]
    except LabError as error:
        raise LabError(f"{path}: {error}") from error


# --- from the notebook ----------------------------------------------------------------------------------------


def _cover(source: Source) -> Slide:
    first = rendered(source.notebook.cells[0].source)
    lead = first.find("p")
    notes = (
        ("Time", f"{source.leader.minutes} minutes in a room, estimated."),
        ("Goes wrong", source.leader.wrong),
        ("Guesses", source.leader.guessing),
    )
    return Slide("", str(lead or ""), "cover", notes)


def _last(source: Source) -> Iterator[Slide]:
    """Yield the summary, the review questions, and their answers."""
    texts = [rendered(cell.source) for cell in source.notebook.cells if cell.cell_type == "markdown"]
    headed = {head.get_text(): text for text in texts if isinstance(head := text.find("h2"), Tag)}
    if review := headed.get("Review"):
        pairs = [(_words(fold.find("summary")), fold) for fold in review.find_all("details", recursive=False)]
        asked = "".join(f"<li>{question}</li>" for question, _ in pairs)
        yield Slide("Review", f'<ol class="review">{asked}</ol>', "question", _REVIEW, "review")
        for _, fold in pairs:
            if isinstance(head := fold.find("summary"), Tag):
                head.decompose()
        told = "".join(f"<li><p><em>{question}</em></p>{fold.decode_contents()}</li>" for question, fold in pairs)
        yield Slide("Review: answers", f'<ol class="review">{told}</ol>', "truth", _ANSWERS, "review")
    summary = headed["Summary"].find("ul") if "Summary" in headed else None
    yield Slide("To remember", str(summary or ""), notes=_END)


_REVIEW = (("Say", "In pairs, a minute each, before the next slide. One pair answers aloud."),)
_ANSWERS = (("Say", "Whose answer was shorter and still right? Keep theirs."),)
_END = (("Say", "Hand out the sheet with this summary. What is still unclear? Write it on the board."),)


def _words(element: Any) -> str:
    return re.sub(r"^\s*\d\. ", "", element.decode_contents()) if element else ""


# --- from the deck --------------------------------------------------------------------------------------------


@dataclass
class _Draft:
    """A slide while it is read."""

    slide: Slide
    markdown: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def flush(self) -> None:
        text = "\n".join(self.markdown).strip()
        if text:
            self.parts.append(str(rendered(text)))
        self.markdown = []

    def done(self) -> Slide:
        self.flush()
        return replace(self.slide, body="\n".join(self.parts))

    def note(self, label: str, text: str) -> None:
        self.slide = replace(self.slide, notes=(*self.slide.notes, (label, text)))


def _written(text: str, source: Source) -> Iterator[Slide]:
    """Yield the slide of one heading, or two: a question and its truth."""
    title, _, rest = text.partition("\n")
    heading = inline(title.strip())
    draft = _Draft(Slide(heading, ""))
    for line in _joined(rest.split("\n")):
        if found := re.match(r":(\w+) ?(.*)", line):
            order, argument = found[1], found[2].strip()
            if order == "tells":
                about = draft.slide.about
                if not about:
                    raise LabError(f"\u201c{title}\u201d: :tells without :asks or :question before it")
                yield draft.done()
                draft = _Draft(Slide(heading, "", "truth", about=about))
                if about != OWN:
                    _tell(draft, argument, source)
                continue
            _obey(draft, order, argument, source)
        elif line.startswith("Say: "):
            draft.note("Say", line.removeprefix("Say: "))
        else:
            draft.markdown.append(line)
    if draft.slide.kind == "question":
        raise LabError(f"\u201c{title}\u201d: a question needs :tells behind it")
    yield draft.done()


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines; a note for the speaker as one, up to an empty line or an order."""
    note = ""
    for line in lines:
        if note and line.strip() and not line.startswith(":"):
            note += f" {line}"
            continue
        if note:
            yield note
            note = ""
        if line.startswith("Say: "):
            note = line
        else:
            yield line
    if note:
        yield note


def _obey(draft: _Draft, order: str, argument: str, source: Source) -> None:
    """Add what a line asks for."""
    name, _, more = (part.strip() for part in argument.partition("|"))
    if order in ("ask", "show"):
        draft.note(order.capitalize(), getattr(source.leader, order))
        return
    if order == "task":
        draft.flush()
        draft.parts.append(_task(draft, name, source))
        return
    if order == "question":
        draft.slide = replace(draft.slide, kind="question", about=OWN)
        return
    if order == "asks":
        draft.slide = replace(draft.slide, kind="question", about=name)
        draft.note("Guess", f"{source.leader.guessing.partition('. ')[0]}.")
        draft.flush()
        draft.parts.append(_asked(name))
        return
    makes: Mapping[str, Callable[[str, str, Source], str]] = {
        "picture": _picture,
        "bench": lambda sample, features, _: _made(drawn.bench(sample, features)),
        "part": lambda era, function, _: _made(drawn.part(era, function)),
        "shows": _shows,
        "prints": lambda text, wanted, given: printed(text_in(given.cell(text).outputs), wanted),
        "source": lambda text, wanted, given: printed(given.cell(text).source, wanted),
    }
    if order not in makes:
        raise LabError(f":{order} is nothing that a deck can ask for")
    draft.flush()
    draft.parts.append(makes[order](name, more, source))


def _picture(name: str, words: str, source: Source) -> str:
    path = source.images / f"{name}.svg"
    if not path.is_file() or not words:
        raise LabError(f":picture {name}: name a file of images/, and what it shows in words: NAME | words")
    return drawing(svg_url(path.read_text(encoding="utf-8")), words)


def _made(diagram: Diagram) -> str:
    return drawing(svg_url(diagram.file()), diagram.text)


def _shows(text: str, _more: str, source: Source) -> str:
    for cell in source.cells(text):
        if found := drawing_in(cell.outputs):
            return drawing(found[0], f"{found[1]}: {text_in(cell.outputs)}")
    raise LabError(f"no cell with {text!r} shows a drawing")


def _task(draft: _Draft, id_: str, source: Source) -> str:
    task = exercises.exercise(id_)
    draft.note(f"{id_}, {task.minutes} min", source.leader.tasks.get(id_, ""))
    draft.note("If stuck", task.hints[0])
    return f'<p class="task"><strong>{id_}</strong> {escape(task.title)} <small>{task.minutes} min</small></p>'


# --- predictions ----------------------------------------------------------------------------------------------


def _questions(name: str) -> tuple[questions.Question, ...]:
    found = questions.every().get(name)
    if found is None:
        raise LabError(f"there is no prediction {name!r}")
    return found


def _asked(name: str) -> str:
    rows = []
    for question in _questions(name):
        choices = "".join(f"<li>{inline(choice)}</li>" for choice in question.choices)
        several = " <small>(any number of them)</small>" if question.several else ""
        unit = f" <small>(a number{f' of {question.number}' if question.number else ''})</small>"
        tail = several if question.choices else unit if question.number is not None else ""
        rows.append(f"<li><p>{inline(question.text)}{tail}</p>{f'<ul>{choices}</ul>' if choices else ''}</li>")
    return f'<ol class="asked">{"".join(rows)}</ol>'


def _tell(draft: _Draft, wanted: str, source: Source) -> None:
    """Add the truth as the notebook computed it, and for the speaker what to say to other guesses."""
    name = draft.slide.about
    asked = _questions(name)
    told = text_in(source.cell(f'truth("{name}"').outputs).split("\n")[1:]
    rows = []
    for question, line in zip(asked, told, strict=False):
        head = f"  {question.text} It is: "
        if not line.startswith(head):
            raise LabError(
                f"the notebook does not tell the truth of {name} as it asks; run it with VMENTER_REVEAL=1"
            )
        fact, _, because = line.removeprefix(head).partition(". ")
        strong = f"<strong>{inline(fact.rstrip('.'))}</strong>"
        rows.append(f"<li><p>{inline(question.text)} {strong}</p><p>{inline(because)}</p></li>")
        said = [(one, words) for one, words in question.choices.items() if one not in fact.split("; ") and words]
        said += [(f"{one.low:g}", one.answer) for one in question.misconceptions]
        for guess, words in said:
            draft.note(f"To \u201c{guess}\u201d", words)
    draft.parts.append(f'<ol class="told">{"".join(rows)}</ol>')
    came = told[len(asked) :]
    if came and wanted != "none":
        draft.parts.append(printed("\n".join(lines_of("\n".join(came), wanted))))
