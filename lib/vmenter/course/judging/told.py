"""What an answer says, however it is written: names, letters, words, numbers, bytes.

Letters are alike in either case, order plays no part, and several things are a text with blanks or commas between,
a list, a tuple or a set. A dict stands for pairs and for nothing else: its keys alone are no list. Each function
raises `LabError` for what it cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vmenter import LabError
from vmenter.course.judging.plain import type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vmenter.code.image import Image

PREFIX = "X86_FEATURE_"
AROUND = " \n\t\r.,;:()[]{}'\"`"  # what may stand around a letter or a word


def should_be(what: str, name: str = "answer") -> str:
    """Say what an answer, or a part of it, should be: "text, the assembly", "one of the letters 'a', 'b'"."""
    return f"{name} should be {what}"


def text(answer: Any, what: str = "", name: str = "answer") -> str:
    """Return an answer that is one text; `what` says which is wanted: "the assembly"."""
    if not isinstance(answer, str):
        raise LabError(f"{should_be(f'text, {what}' if what else 'text', name)}; it is a {type_name(answer)}")
    return answer


def settings(answer: Any, known: Iterable[str]) -> dict[str, Any]:
    """Return a dict of settings, some of those that are known."""
    if not isinstance(answer, dict):
        raise LabError(f"{should_be('a dict of settings')}; it is a {type_name(answer)}")
    if unknown := sorted({*map(str, answer)}.difference(known)):
        raise LabError(f"there is no setting {unknown[0]!r}; there are {', '.join(known)}")
    return answer


def texts(answer: Any, should: str) -> list[str]:
    """Return the texts of an answer: of one text, or of a collection of texts. `should` says what is wanted."""
    found = [answer] if isinstance(answer, str) else answer
    if not isinstance(found, (list, tuple, set, frozenset)) or not all(isinstance(one, str) for one in found):
        raise LabError(should)
    return list(found)


def names(answer: Any, should: str) -> list[str]:
    """Return the names in an answer, in small letters."""
    words = " ".join(texts(answer, should)).lower().replace(",", " ").replace(";", " ").split()
    return [name for word in words if (name := word.strip(AROUND))]


def features(answer: Any, should: str) -> frozenset[str]:
    """Return the features that are named, as the kernel's lists have them: without X86_FEATURE_."""
    return frozenset(name.upper().removeprefix(PREFIX) for name in names(answer, should))


def letters(answer: Any, known: str, should: str) -> set[str]:
    """Return the letters of an answer, in the case of those that are `known`."""
    given = {letter for letter in "".join(texts(answer, should)) if letter not in AROUND}
    found = {letter.upper() if known.isupper() else letter.lower() for letter in given}
    if unknown := sorted(found - set(known)):
        raise LabError(f"{unknown[0]!r} is none of the letters {', '.join(known)}")
    return found


def one(answer: Any) -> str | None:
    """Return a single word in small letters, also if it is all that a collection holds; None for anything else."""
    if isinstance(answer, (list, tuple, set, frozenset)) and len(answer) == 1:
        (answer,) = answer
    return " ".join(answer.strip(AROUND).lower().split()) if isinstance(answer, str) else None


def word(answer: Any, known: Iterable[str]) -> str | None:
    """Return which of the known words an answer is; None for none of them."""
    given = one(answer)
    return next((one_ for one_ in known if one_.lower() == given), None)


def place(image: Image, address: int) -> str:
    """Return an address, and what stands there where a symbol tells: "0x10000031 (vmx_vcpu_run+0x31)"."""
    label = image.label(address)
    return label if label == f"{address:#x}" else f"{address:#x} ({label})"


def keyed(
    answer: Any, keys: Sequence[str], of: str = "", *, name: str = "answer", should: str = ""
) -> dict[str, Any]:
    """Return a dict's values by these keys, all of which it must have, and no other.

    `of` says what is wanted for each of them, "a word"; `should` says it all where that is not enough.
    """
    found = (
        {str(key).strip().lower(): value for key, value in answer.items()} if isinstance(answer, Mapping) else {}
    )
    if set(found) != {key.lower() for key in keys} or len(found) != len(answer):
        listed = ", ".join(map(repr, keys))
        raise LabError(
            should or should_be(f"a dict with {f'{of} for each of' if of else 'the keys'} {listed}", name)
        )
    return {key: found[key.lower()] for key in keys}


def number(answer: Any) -> int | None:
    """Return a whole number that is given as one, or as text: 26, 26.0, "0x1a", "1,360"; None for no number."""
    if isinstance(answer, str):
        try:
            return int(answer.strip().replace("_", "").replace(",", ""), 0)
        except ValueError:
            return None
    if isinstance(answer, float) and answer.is_integer():
        return int(answer)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else None


def truth(answer: Any) -> bool | None:
    """Return True or False, which may be given as 1 or 0; None for anything else."""
    return bool(answer) if isinstance(answer, int) and answer in (0, 1) else None


def code(answer: Any) -> bytes | None:
    """Return bytes that are given as text: "0f 01 cb", "0f01cb", "0x0f, 0x01, 0xcb"; None for no such text."""
    if not isinstance(answer, str):
        return None
    parts = answer.replace(",", " ").split()
    try:
        return bytes.fromhex(" ".join(part.lower().removeprefix("0x") for part in parts))
    except ValueError:
        return None
