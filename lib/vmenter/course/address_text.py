"""The course's address in words, in every file that tells it: `python -m vmenter.course.address_text`.

Such a file has a block between two marks, which is written anew from `[project.urls]` of lib/pyproject.toml, the
place where the address is set. A test holds every block to that.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from vmenter import LabError
from vmenter.course.address import COMMAND, LABELS, PROJECT, ROOT, Address, of_project

BEGIN, END = "address: written by make address", "end of address"
_BLOCK = re.compile(rf"(^[^\n]*{BEGIN}[^\n]*\n)(.*?)(^[^\n]*{END}[^\n]*$)", re.MULTILINE | re.DOTALL)
UNSET = f"This copy of the course has no public address yet. Whoever publishes it runs `{COMMAND}`"
WHERE = "which sets it in `lib/pyproject.toml` and writes it wherever it is told"


def readme(address: Address) -> str:
    """Return how to get the course: launch links, and a clone's commands."""
    lines = []
    if address.launches:
        links = " · ".join(f"[{words}]({link})" for words, link in address.launches.items())
        lines.append(f"**Open it:** {links}\n")
    if address.repository:
        lines += ["**Get it:**\n", "```", f"git clone {address.repository}", f"cd {address.name}", "```\n"]
        lines.append(f"**Say what is wrong:** [{address.issues}]({address.issues})")
    else:
        lines.append(f"*{UNSET}\n(`HOMEPAGE=https://…` beside it, where `make tab` is served), {WHERE}.*")
    return "\n".join(lines)


def package(address: Address) -> str:
    """Return the same for the package's own page."""
    if not address.repository:
        return f"{UNSET},\n{WHERE}."
    return f"The course, its notebooks and how to run them: <{address.repository}>"


def report(address: Address) -> str:
    """Return where reports go."""
    if not address.repository:
        return (
            "Reports go to whoever gave you the course: this copy has no public address yet.\n"
            f"`{COMMAND}` sets one."
        )
    return f"Reports go to [{address.issues}]({address.issues})."


def hub(address: Address) -> str:
    """Return nbgitpuller's link."""
    said = (
        "" if address.repository else f"`ADDRESS` is the course's, which is not set in this copy: `{COMMAND}`.\n\n"
    )
    return f"{said}```\n{address.pull()}\n```"


def citation(address: Address) -> str:
    """Return the citation's lines; a comment where there is none."""
    lines = {"repository-code": address.repository, "url": address.homepage}
    told = [f"{key}: {value}" for key, value in lines.items() if value]
    return "\n".join(told) or f"# repository-code and url are not set: {COMMAND}"


def project(address: Address) -> str:
    """Return the lines of `[project.urls]`."""
    told = [f'{label} = "{getattr(address, name)}"' for name, label in LABELS.items() if getattr(address, name)]
    return "\n".join(told) or f"# Repository, Homepage and Issues are not set: {COMMAND}"


BLOCKS: Mapping[str, Callable[[Address], str]] = {
    str(PROJECT): project,
    "README.md": readme,
    "lib/README.md": package,
    "CITATION.cff": citation,
    "CONTRIBUTING.md": report,
    ".hub/README.md": hub,
    "lib/vmenter/course/site/with-a-kernel.md": readme,
}


def filled(text: str, block: str, name: str = "") -> str:
    """Return a text with this block between its marks. Raises `LabError` if it has not one pair of them."""
    made, count = _BLOCK.subn(lambda found: f"{found[1]}{block}\n{found[3]}", text)
    if count != 1:
        raise LabError(f"{name}: {count} pairs of lines with {BEGIN!r} and {END!r}, not one; git has the file")
    return made


def written(address: Address, root: Path = ROOT) -> list[str]:
    """Write the address into the files of a checkout; return those that changed."""
    changed = {}
    for name, block in BLOCKS.items():
        before = (root / name).read_text(encoding="utf-8")
        after = filled(before, block(address), name)
        if after != before:
            changed[name] = after
    for name, text in changed.items():
        (root / name).write_text(text, encoding="utf-8", newline="\n")
    return list(changed)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Set the address, if one is given, and write it wherever it is told. Returns 2 for what is none."""
    parser = argparse.ArgumentParser(prog="make address", description="Set where the course is published.")
    parser.add_argument("--address", default="", help="the repository's page; none: take it out again")
    parser.add_argument("--homepage", default="", help="where the tab is served")
    chosen = parser.parse_args(arguments)
    try:
        before = of_project((root / PROJECT).read_text(encoding="utf-8"))
        if chosen.address == "none":
            address = Address()
        elif chosen.address:
            address = Address(chosen.address, chosen.homepage)
        else:
            address = Address(before.repository, chosen.homepage or before.homepage, before.issues)
        changed = written(address, root)
    except LabError as error:
        print(f"make address: {error}", file=sys.stderr)
        return 2
    for label, value in zip(LABELS.values(), (address.repository, address.homepage, address.issues), strict=True):
        print(f"{label:<12}{value or 'not set'}")
    print("\n".join(f"{name} is written anew" for name in changed) or "every file tells it already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
