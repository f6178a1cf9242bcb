"""Where the course is published: one place to set it, `[project.urls]` of lib/pyproject.toml.

`make address ADDRESS=https://HOST/OWNER/NAME` writes it there, and into every text that tells it (`address_text`).
For one build, VMENTER_ADDRESS and VMENTER_HOMEPAGE take its place. Nothing is guessed: of what is not set each
place says so, and how to set it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from urllib.parse import quote, urlsplit

from vmenter import LabError

ROOT = Path(__file__).parents[3]  # of a checkout
PROJECT = Path("lib/pyproject.toml")
COMMAND = "make address ADDRESS=https://HOST/OWNER/NAME"
# The labels of [project.urls], and what stands behind each.
LABELS = {"repository": "Repository", "homepage": "Homepage", "issues": "Issues"}
VARIABLES = {"repository": "VMENTER_ADDRESS", "homepage": "VMENTER_HOMEPAGE"}
BINDER = "https://mybinder.org/v2"
CODESPACES = "https://codespaces.new"
# What people open in a browser, without a query: it goes into Markdown, YAML, TOML and HTML as it is.
_PLAIN = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~%+-]+)*/?")
# Where a host that we know takes reports. Of another one, it is the repository's page.
_ISSUES = {"github.com": "/issues", "codeberg.org": "/issues", "gitlab.com": "/-/issues"}


@dataclass(frozen=True)
class Address:
    """Where the course is: "" for what is not set. Raises `LabError` for what is no plain https address.

    repository: its page, which git clones; homepage: where the tab is served (`make tab`); issues: where reports
    go, if that is not where the repository's host has them.
    """

    repository: str = ""
    homepage: str = ""
    issues: str = ""

    def __post_init__(self) -> None:
        for name in LABELS:
            value = getattr(self, name).strip()
            if value and not _PLAIN.fullmatch(value):
                raise LabError(f"{name}: {value!r} is no address of the form https://HOST/OWNER/NAME; {COMMAND}")
            value = value.rstrip("/")
            if name == "homepage" and value:
                value += "/"
            if name == "repository":
                value = value.removesuffix(".git")
                if value and not urlsplit(value).path.strip("/"):
                    raise LabError(f"repository: {value!r} names a host, but no repository there; {COMMAND}")
            object.__setattr__(self, name, value)
        if self.repository and not self.issues:
            host = urlsplit(self.repository).hostname or ""
            object.__setattr__(self, "issues", self.repository + _ISSUES.get(host, ""))

    @cached_property
    def name(self) -> str:
        """The repository's own name, the folder that git makes."""
        return self.repository.rpartition("/")[2]

    @cached_property
    def launches(self) -> dict[str, str]:
        """Where the course can be opened by a click: words → address. A Codespace is GitHub's alone."""
        found = {"in a browser's tab": self.homepage} if self.homepage else {}
        if not self.repository:
            return found
        where = urlsplit(self.repository)
        path = where.path.strip("/")
        if where.hostname == "github.com":
            return {**found, "on Binder": f"{BINDER}/gh/{path}/HEAD", "in a Codespace": f"{CODESPACES}/{path}"}
        if where.hostname == "gitlab.com":
            return {**found, "on Binder": f"{BINDER}/gl/{quote(path, safe='')}/HEAD"}
        return {**found, "on Binder": f"{BINDER}/git/{quote(self.repository, safe='')}/HEAD"}

    def pull(self, hub: str = "https://HUB") -> str:
        """Return the link by which nbgitpuller of a hub fetches the course."""
        repository = quote(self.repository, safe="") if self.repository else "ADDRESS"
        return f"{hub}/hub/user-redirect/git-pull?repo={repository}&urlpath=lab"


def of_project(text: str) -> Address:
    """Return what the text of a pyproject.toml sets."""
    urls = tomllib.loads(text).get("project", {}).get("urls", {})
    return Address(**{name: str(urls.get(label, "")) for name, label in LABELS.items()})


def configured(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Address:
    """Return the address that a checkout is built with: the environment's, else the one that is written down.

    An ADDRESS of the environment takes the place of all: what belongs to another repository is not kept.
    """
    written = of_project((root / PROJECT).read_text(encoding="utf-8"))
    own = {name: environment[key] for name, key in VARIABLES.items() if environment.get(key)}
    if "repository" in own:
        return Address(**own)
    return Address(**{**{name: getattr(written, name) for name in LABELS}, **own})


def version(root: Path = ROOT) -> str:
    """Return the version of a checkout."""
    project = tomllib.loads((root / PROJECT).read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def installed() -> Address:
    """Return the address of the program that runs: its checkout's, else the package's as it was installed."""
    if (ROOT / PROJECT).is_file():
        return configured()
    try:
        told = metadata.metadata("vmenter").get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:  # in the tab, which has no packages' records of it
        return Address()
    urls = dict(line.split(", ", 1) for line in told)
    return Address(**{name: urls.get(label, "") for name, label in LABELS.items()})
