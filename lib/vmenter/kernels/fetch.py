"""Fetch a kernel's package through this machine's apt, and keep its KVM modules and vmlinuz in a cache.

Mirror, keys and proxy are those of the machine's own apt settings; another suite is looked for on the same mirror.
Lists and downloads are kept in folders of our own: root is not needed, the system's apt state stays as it is.
apt does what it does well: progress, resuming, checksums, signatures; what it does not trust is not used. For root
it fetches as its own account `_apt`, as ever, so its folders stand where that account may go.
Sources: apt-get(8), apt.conf(5), sources.list(5).
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from vmenter import LabError, near
from vmenter.kernels.find import version_key
from vmenter.kernels.packages import FILES, files, key

Progress = Callable[[str, int, int], None]  # what is done, how far, of how much

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?")
SUITE = re.compile(r"[A-Za-z0-9][\w.+-]*(/[\w.+-]+)*")
KERNELS = re.compile(r"linux-image-(unsigned-)?\d.*(?<!-dbg)(?<!-template)")
PLAIN = re.compile(r"linux-image-\d[^-]*(-\d[^-]*|-rc\d+)*-(amd64|generic)")  # no cloud, no real-time kernel
PARTS = re.compile(r"linux-(image|binary|modules)-")  # what a kernel's package leads to
OPTIONS = (
    *("-qq", "-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o", "Acquire::Languages=none"),
    *("-o", "APT::Get::List-Cleanup=false", "-o", "Acquire::Retries=2"),
    *(
        "-o",
        "Acquire::http::Timeout=20",
        "-o",
        "Acquire::https::Timeout=20",
        "-o",
        "Dir::Etc::sourcelist=/dev/null",
    ),
    *("-o", "Dir::Etc::preferences=/dev/null", "-o", "Dir::Etc::preferencesparts=/dev/null"),
)


# What apt says where a signature, a key, a checksum or a date is wrong. That a mirror lacks a suite, or cannot be
# reached, is another matter.
UNTRUSTED = re.compile(
    r"GPG error|verification|n[o']t be verified|were invalid|is not signed|BADSIG|NO_PUBKEY|EXPKEYSIG|REVKEYSIG"
    r"|KEYEXPIRED|Hash Sum mismatch|is expired|is not valid yet",
    re.IGNORECASE,
)
SUITES = "suites"  # beside a kernel's files: the suites it was fetched from, one a line
OWN = "(this machine's)"


def cache() -> Path:
    """Return the folder of fetched kernels: one folder each, NAME_VERSION."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if chosen and not Path(chosen).is_absolute():
        raise LabError(
            f"XDG_CACHE_HOME is {chosen!r}, which means another folder from each place; give it from / on"
        )
    try:
        return platformdirs.user_cache_path("vmenter", appauthor=False) / "kernels"
    except RuntimeError:
        raise LabError("there is no home, so no place for kernels; set XDG_CACHE_HOME to a folder") from None


def _home() -> Path:
    """Return the folder of apt's lists and downloads: in the cache, if apt's own account may go there."""
    own = cache().parent / "apt"
    if _sandbox() is None or all(parent.stat().st_mode & 0o001 for parent in own.parents if parent.exists()):
        return own
    return platformdirs.site_cache_path("vmenter", appauthor=False) / "apt"


def _sandbox() -> int | None:
    """Return the number of the account that apt fetches as where root calls it; None for all others."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415  (not everywhere, as apt)

    name, _ = _run(("apt-config", "--format", "%v%n", "dump", "--no-empty", "APT::Sandbox::User"))
    try:
        return pwd.getpwnam(name.strip() or "_apt").pw_uid
    except KeyError:  # apt then does without
        return None


def _folder_for_apt(path: Path) -> Path:
    """Make a folder in which apt's own account may write."""
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    account = _sandbox()
    if account is not None:
        for folder in made:
            folder.chmod(0o755)
        os.chown(path, account, -1)
    return path


def fetch(package: str | None = None, suite: str | None = None, progress: Progress | None = None) -> Path:
    """Return the folder with a package's kernel, fetched unless the cache has it.

    `package` is a name, NAME=VERSION, or None for the newest plain kernel; `suite` is one that the machine's
    mirror has (None: the machine's own). Raises `LabError` without apt or network, or if there is no such package.
    """
    if package is not None and not PACKAGE.fullmatch(package):
        raise LabError(
            f"{package!r} is no package's name; give one like linux-image-6.12.9-amd64, or =VERSION after it"
        )
    held = _held(package, suite) if package else None
    if held:
        return held
    with _apt(suite, progress) as apt:
        package = package or apt.newest()
        parts = apt.parts(package)
        main = next((part for part in parts if KERNELS.fullmatch(part.name)), parts[0])  # no metapackage
        folder = cache() / f"{main.name}_{main.version}".replace(":", "%3a")
        if not folder.is_dir():
            packages = apt.download(folder.name, parts)
            _keep(packages, folder, progress)
            shutil.rmtree(packages[0].parent)
        _note(folder, suite)
    return folder


def available(suite: str | None = None, progress: Progress | None = None) -> list[str]:
    """Return the names of all kernel packages that could be fetched, the oldest first."""
    with _apt(suite, progress) as apt:
        return apt.names()


def _held(package: str, suite: str | None) -> Path | None:
    """Return what the cache has of a package from a suite; a name with a kernel's version in it is enough."""
    name, _, version = package.partition("=")
    if version:
        found = [cache() / f"{name}_{version}".replace(":", "%3a")]
    else:
        found = [*cache().glob(f"{name}_*")] if re.search(r"-\d", name) else []
    held = [folder for folder in found if folder.is_dir() and (suite or OWN) in _noted(folder)]
    return max(held, key=lambda path: version_key(path.name), default=None)


def _noted(folder: Path) -> list[str]:
    """Return the suites that a kernel was fetched from."""
    try:
        return (folder / SUITES).read_text(encoding="utf-8").splitlines()
    except OSError:  # kept before that was noted
        return [OWN]


def _note(folder: Path, suite: str | None) -> None:
    """Note that a suite has a kernel."""
    known = _noted(folder) if (folder / SUITES).exists() else []
    if (suite or OWN) not in known:
        (folder / SUITES).write_text("\n".join([*known, suite or OWN]) + "\n", encoding="utf-8")


def _keep(packages: Sequence[Path], folder: Path, progress: Progress | None) -> None:
    """Take a kernel's files out of its packages, and name the folder only when all is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
        new = Path(name) / "kernel"
        new.mkdir()
        missing = set(FILES)
        for number, package in enumerate(sorted(packages, key=lambda path: path.stat().st_size)):
            if progress:
                progress("unpacking", 100 * number // len(packages), 100)
            for inside, data in files(package, missing):
                found = key(inside)
                target = "vmlinuz" if found == "vmlinuz" else inside.rpartition("/")[2]
                (new / target).write_bytes(data)
                missing.discard(found or "")
        if len(missing) == len(FILES):
            raise LabError(f"{folder.name} holds none of {', '.join(FILES)}; see `vmenter fetch --list`")
        if not folder.exists():
            new.rename(folder)


@dataclass(frozen=True)
class _Package:
    name: str
    version: str
    depends: str


@dataclass(frozen=True)
class _Apt:
    """apt with lists and downloads of its own."""

    home: Path
    options: tuple[str, ...]
    progress: Progress | None
    where: str  # for messages: the suites looked in

    def run(self, what: str, *arguments: str, folder: Path | None = None) -> tuple[str, list[str]]:
        """Run apt; return what it printed, and its complaints, the weightiest first."""
        return _run((what, *OPTIONS, *self.options, *arguments), folder, self.progress)

    def update(self) -> str:
        """Get the lists anew; return what apt complains of. `LabError` for what it does not trust."""
        _, complaints = self.run("apt-get", "update")
        wrong = next((line for line in complaints if UNTRUSTED.search(line)), None)
        if wrong:
            raise LabError(f"apt does not trust what it finds of {self.where}: {wrong}")
        return complaints[0] if complaints else ""

    def names(self) -> list[str]:
        out, _ = self.run("apt-cache", "pkgnames", "linux-image-")
        return sorted(filter(KERNELS.fullmatch, out.split()), key=lambda name: (version_key(name), name))

    def newest(self) -> str:
        """Return the package of the newest kernel for ordinary machines."""
        names = [name for name in self.names() if PLAIN.fullmatch(name)]
        if not names:
            raise LabError(f"no kernel package in {self.where}; name a suite that has one, with --suite")
        return names[-1]

    def parts(self, package: str) -> list[_Package]:
        """Return a package, and the kernel packages that it depends on."""
        found: dict[str, _Package] = {}
        wanted = [package]
        while wanted and len(found) < 16:
            name = wanted.pop(0)
            if name.partition("=")[0] in found:
                continue
            record = self.record(name)
            found[record.name] = record
            for choice in record.depends.split(","):
                match = re.match(r"\s*([a-z0-9+.-]+)(?::\w+)?\s*(?:\(= ([^)\s]+)\))?", choice)
                if match and PARTS.match(match[1]):
                    wanted.append(f"{match[1]}={match[2]}" if match[2] else match[1])
        return list(found.values())

    def record(self, package: str) -> _Package:
        out, _ = self.run("apt-cache", "show", "--no-all-versions", package)
        fields = dict(re.findall(r"^(Package|Version|Depends): (.+)$", out.partition("\n\n")[0], re.MULTILINE))
        if "Package" not in fields or "Version" not in fields:
            hint = near(package.partition("=")[0], self.names(), most=3, alike=0.6)
            raise LabError(
                f"no package {package} in {self.where}{hint}; see `vmenter fetch --list`, or try --suite"
            )
        return _Package(fields["Package"], fields["Version"], fields.get("Depends", ""))

    def download(self, name: str, packages: Sequence[_Package]) -> list[Path]:
        """Return the packages' files; what an interrupted run has left is resumed."""
        folder = _folder_for_apt(self.home / "archives" / name)
        names = [f"{package.name}={package.version}" for package in packages]
        _, complaints = self.run("apt-get", "download", *names, folder=folder)
        found = sorted(folder.glob("*.deb"))
        if len(found) < len(names):
            raise LabError(f"apt could not fetch {' '.join(names)}: {(complaints or ['it does not say why'])[0]}")
        return found


@contextmanager
def _apt(suite: str | None, progress: Progress | None) -> Iterator[_Apt]:
    """Give an apt that knows the machine's mirrors, with fresh lists."""
    if suite is not None and not SUITE.fullmatch(suite):
        raise LabError(f"{suite!r} is no suite's name; give one like trixie or trixie-backports")
    if not (shutil.which("apt-get") and shutil.which("apt-cache")):
        raise LabError(
            "fetching needs apt (Debian, Ubuntu and their kin); elsewhere download your distribution's "
            "kernel package and give its file to the command that wants a kernel"
        )
    home = _home()
    try:
        for name in ("lists", "archives"):
            _folder_for_apt(home / name / "partial")
        with tempfile.TemporaryDirectory(dir=home, prefix="sources-") as sources:
            found = _sources(suite)
            for number, (kind, text) in enumerate(found):
                (Path(sources) / f"{number}.{kind}").write_text(text, encoding="utf-8")
            status = Path(sources) / "status"
            status.touch()
            settings = {
                "Dir::Etc::sourceparts": sources,
                "Dir::State::lists": home / "lists",
                "Dir::State::status": status,
                "Dir::Cache": home,
            }
            options = tuple(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))
            apt = _Apt(home, options, progress, f"suite {suite}" if suite else "this machine's suites")
            complaint = apt.update()
            lists, _ = apt.run("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
            if not any(Path(name).exists() for name in lists.splitlines()):
                small = suite.lower() if suite else None
                hint = "" if small == suite else f"; suites are written small: {small}"
                why = complaint or "its settings name no mirror"
                raise LabError(f"apt finds no packages of {apt.where}{hint}: {why}")
            yield apt
    except OSError as error:
        raise LabError(f"{error.filename or home}: {error.strerror or error}") from None


def _sources(suite: str | None) -> list[tuple[str, str]]:
    """Return the apt sources of the machine's own distribution, (kind, text), changed to the suite if given."""
    own: list[list[str]] = []
    complaints: list[str] = []
    for options in ((), ("--no-release-info",)):  # where `apt-get update` never ran, no origins are known
        form = "$(SOURCESENTRY)\t$(REPO_URI)\t$(ORIGIN)"
        out, complaints = _run(("apt-get", "indextargets", *options, "--format", form, "Created-By: Packages"))
        rows = [line.split("\t") for line in out.splitlines() if line.count("\t") == 2]
        own = [row for row in rows if options or _own(row[2])]
        if own:
            break
    else:
        raise LabError(f"apt's settings name no mirror; {(complaints or ['see /etc/apt/sources.list'])[0]}")
    sites = {row[1].rstrip("/") for row in own}
    result = []
    for name in dict.fromkeys(row[0].rpartition(":")[0] for row in own):
        text = Path(name).read_text(encoding="utf-8", errors="replace")
        entries = re.split(r"\n\s*\n", text) if name.endswith(".sources") else text.splitlines()
        for entry in entries:
            changed = _stanza(entry, sites, suite) if name.endswith(".sources") else _line(entry, sites, suite)
            if changed:
                result.append(("sources" if name.endswith(".sources") else "list", changed))
    return result


def _own(origin: str) -> bool:
    """Tell whether an origin, such as "Debian Backports", is this machine's distribution."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        text = ""
    ids = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text, re.MULTILINE)).lower().split()
    return origin.lower().partition(" ")[0] in ids


def _suites(suite: str) -> str:
    """Return a release's suite with those that update it; a mirror that lacks one of them is no harm."""
    return suite if "-" in suite else f"{suite} {suite}-updates {suite}-security"


def _stanza(text: str, sites: set[str], suite: str | None) -> str:
    """Return a deb822 entry for another suite, or "" if it is not of these sites."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    stanza = "\n".join(lines) + "\n"
    uris = re.search(r"^URIs:((?:.*\n(?:[ \t].*\n)*))", stanza, re.MULTILINE | re.IGNORECASE)
    if not uris or not sites & {uri.rstrip("/") for uri in uris[1].split()}:
        return ""
    if re.search(r"^Enabled:\s*(no|false|0|off|without|disable)\b", stanza, re.MULTILINE | re.IGNORECASE):
        return ""
    stanza = re.sub(r"^(Types|Architectures):.*\n(?:[ \t].*\n)*", "", stanza, flags=re.MULTILINE | re.IGNORECASE)
    if suite:
        new = f"Suites: {_suites(suite)}\n"
        stanza = re.sub(r"^Suites:.*\n(?:[ \t].*\n)*", new, stanza, flags=re.MULTILINE | re.IGNORECASE)
    return "Types: deb\n" + stanza


def _line(text: str, sites: set[str], suite: str | None) -> str:
    """Return one-line entries for another suite, or "" if the line is not of these sites."""
    match = re.match(r"\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", text)
    if not match or match[2].rstrip("/") not in sites:
        return ""
    options, uri, own, components = re.sub(r"\barch=\S+", "", match[1] or ""), match[2], match[3], match[4].strip()
    if suite is None or own.endswith("/"):  # a flat repository has no suites
        return "" if suite else f"deb {options}{uri} {own} {components}\n"
    return "".join(f"deb {options}{uri} {name} {components}\n" for name in _suites(suite).split())


def _run(
    command: Sequence[str], folder: Path | None = None, progress: Progress | None = None
) -> tuple[str, list[str]]:
    """Run a command of apt; return its output and its errors, if it failed, and then its warnings."""
    out = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        with subprocess.Popen(
            (command[0], *command[1:], "-o", "APT::Status-Fd=1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                status = re.match(r"dlstatus:\d+:(\d+)", line)
                if status is None:
                    out.append(line)
                elif progress:
                    progress("package lists" if "update" in command else "packages", int(status[1]), 100)
        complaints.seek(0)
        lines = complaints.read().splitlines()
    errors = [line for line in lines if line.startswith("E:")] if process.returncode else []
    warnings = [line for line in lines if line.startswith("W:")]
    return "".join(out), [line[2:].strip() for line in [*errors, *warnings]]
