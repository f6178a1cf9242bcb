"""Make a release: check that all places tell the same version; tag it with its part of the changelog.

    make release [VERSION=0.2.0]

checks first, then packs and tries what a release has (`artefacts.py`, `tests/release`), and tags last, so that what
fails leaves no tag. Nothing is changed but the tag, and nothing is pushed.
"""

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path

import yaml

from vmenter.course.address import version

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str, root: Path = ROOT) -> str:
    """Run git in the repository and return what it prints."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def entries(changelog: str) -> dict[str, tuple[str | None, str]]:
    """Return version → (date, text) in the order of the file; "Unreleased" has no date."""
    found = re.split(r"^## \[(.+?)\](?: - (\S+))?\n", changelog, flags=re.MULTILINE)[1:]
    return {found[n]: (found[n + 1], found[n + 2].strip()) for n in range(0, len(found), 3)}


def mistakes(wanted: str, root: Path = ROOT) -> list[str]:
    """Return what stands in the way of releasing this version, each with what to do."""
    told = version(root)
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    log = entries((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    date, text = log.get(wanted, (None, ""))
    return [
        message
        for wrong, message in (
            (not re.fullmatch(r"\d+\.\d+\.\d+", wanted), f"{wanted!r} is no version; write it as 1.2.3"),
            (told != wanted, f"lib/pyproject.toml says version {told}; set it to {wanted}"),
            (
                str(citation["version"]) != wanted,
                f"CITATION.cff says version {citation['version']}; set it to {wanted}",
            ),
            (
                wanted not in log,
                f"CHANGELOG.md has no entry [{wanted}]; name the unreleased part so, with a date",
            ),
            (wanted in log and not text, f"the changelog's entry [{wanted}] is empty; say what changed"),
            (
                date is not None and str(citation["date-released"]) != date,
                f"CITATION.cff was released on {citation['date-released']}, the changelog's entry on {date}; make them one",
            ),
            (
                wanted in log and not (date and is_date(date)),
                f"the changelog's entry [{wanted}] has the date {date}; write it as 2026-11-23",
            ),
        )
        if wrong
    ]


def is_date(text: str) -> bool:
    """Tell whether a text is a date such as 2026-11-23."""
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def hindrances(wanted: str, root: Path = ROOT) -> list[str]:
    """Return all that stands in the way: mistakes, what is not committed, a tag that is there."""
    wrong = mistakes(wanted, root)
    if git("status", "--porcelain", root=root):
        wrong.append("there are changes that are not committed; commit them first")
    if git("tag", "--list", f"v{wanted}", root=root):
        wrong.append(f"there is a tag v{wanted} already; a release is never changed, choose the next number")
    return wrong


def tag(wanted: str, root: Path = ROOT) -> None:
    """Make the tag, with the version's part of the changelog as its message."""
    text = entries((root / "CHANGELOG.md").read_text(encoding="utf-8"))[wanted][1]
    message = f"VM-Enter Lab {wanted}\n\n{text}\n"
    git("tag", "--annotate", f"v{wanted}", "--cleanup=verbatim", "--message", message, root=root)


def main(task: str, wanted: str) -> int:
    """Do a task, "check" or "tag"; return 1 and say what to do if something stands in the way."""
    wanted = wanted or version()
    wrong = hindrances(wanted)
    if wrong:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    if task == "check":
        print(f"All places say {wanted}, and all is committed.")
        return 0
    tag(wanted)
    print(
        f"Tagged v{wanted}. To publish it: git push origin v{wanted}, and hand out all of build/release together: "
        "the GPL asks that the assembler's source stands beside the tab."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
