"""Make a release: check that all places tell the same version, then tag it with its part of the changelog.

    make release VERSION=0.2.0

Nothing is changed but the tag, and nothing is pushed.
"""

import datetime as dt
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str, root: Path = ROOT) -> str:
    """Run git in the repository and return what it prints."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def entries(changelog: str) -> dict[str, tuple[str | None, str]]:
    """Return version → (date, text) in the order of the file; "Unreleased" has no date."""
    found = re.split(r"^## \[(.+?)\](?: - (\S+))?\n", changelog, flags=re.MULTILINE)[1:]
    return {found[n]: (found[n + 1], found[n + 2].strip()) for n in range(0, len(found), 3)}


def mistakes(version: str, root: Path = ROOT) -> list[str]:
    """Return what stands in the way of releasing this version, each with what to do."""
    told = tomllib.loads((root / "lib" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    log = entries((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    date, text = log.get(version, (None, ""))
    return [
        message
        for wrong, message in (
            (not re.fullmatch(r"\d+\.\d+\.\d+", version), f"{version!r} is no version; write it as 1.2.3"),
            (told != version, f"lib/pyproject.toml says version {told}; set it to {version}"),
            (
                str(citation["version"]) != version,
                f"CITATION.cff says version {citation['version']}; set it to {version}",
            ),
            (
                version not in log,
                f"CHANGELOG.md has no entry [{version}]; name the unreleased part so, with a date",
            ),
            (version in log and not text, f"the changelog's entry [{version}] is empty; say what changed"),
            (
                date is not None and str(citation["date-released"]) != date,
                f"CITATION.cff was released on {citation['date-released']}, the changelog's entry on {date}; make them one",
            ),
            (
                version in log and not (date and is_date(date)),
                f"the changelog's entry [{version}] has the date {date}; write it as 2026-11-23",
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


def main(version: str) -> int:
    """Check, then tag; return 1 and say what to do if something is missing."""
    wrong = mistakes(version)
    if git("status", "--porcelain"):
        wrong.append("there are changes that are not committed; commit them first")
    if git("tag", "--list", f"v{version}"):
        wrong.append(f"there is a tag v{version} already; a release is never changed, choose the next number")
    if wrong:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    text = entries((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))[version][1]
    git(
        "tag",
        "--annotate",
        f"v{version}",
        "--cleanup=verbatim",
        "--message",
        f"VM-Enter Lab {version}\n\n{text}\n",
    )
    print(f"Tagged v{version}. To publish it: git push origin v{version}")
    from as_wasm import package  # beside this file, where it is run from

    source = package(ROOT / "build" / "release").relative_to(ROOT)
    print(f"Put {source} beside all that has .tab/as/as.wasm in it: the GPL asks for its source.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
