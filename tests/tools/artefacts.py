"""Pack what a release hands out, in build/release: `make artefacts`. The tab must have been built (`make tab`).

All that has the GNU assembler in WebAssembly in it is accompanied by that program's source. Run in tests, as the module
tools.artefacts.
"""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from tools import as_wasm

from vmenter.course.address import version
from vmenter.course.site.build import build as build_site
from vmenter.course.slides.files import build as build_slides
from vmenter.course.tab.build import OUTPUT as TAB

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "release"
SUMS = "SHA256SUMS"


def names(of: str) -> dict[str, str]:
    """Return what a release of a version has: kind → the file's name."""
    source = as_wasm.MADE
    return {
        "course": f"vmenter-lab-{of}.tar.gz",
        "wheel": f"vmenter-{of}-py3-none-any.whl",
        "site": f"vmenter-lab-{of}-site.zip",
        "tab": f"vmenter-lab-{of}-tab.zip",
        "room": f"vmenter-lab-{of}-room.zip",
        "source": f"{source['package']}_{source['version']}_all.deb",
        "sums": SUMS,
    }


def build(folder: Path = OUTPUT, tell: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
    """Write all files into `folder`, in place of what is there, and return them by kind."""
    of = version()
    if not (TAB / "index.html").is_file():
        sys.exit(f"{TAB}: the tab is not built; make tab")
    work = folder.with_name(f".{folder.name}")
    for old in (folder, work):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    files = {kind: folder / name for kind, name in names(of).items()}
    when = run("git", "log", "-1", "--format=%ct")
    tell("the course, as it is committed")
    run("git", "archive", "--format=tar.gz", f"--prefix=vmenter-lab-{of}/", f"--output={files['course']}", "HEAD")
    tell("the wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
    run(*pip, f"--wheel-dir={folder}", ROOT / "lib", environment={"SOURCE_DATE_EPOCH": when})
    tell("the site")
    build_site(work / "site")
    tell("slides, handouts, answer key")
    build_slides(work / "room")
    for kind, whole in (("site", work / "site"), ("room", work / "room"), ("tab", TAB)):
        tell(f"packing {files[kind].name}")
        pack(whole, files[kind], int(when))
    tell("the assembler's source")
    shutil.copyfile(as_wasm.package(ROOT / "build" / "as-wasm-source"), files["source"])
    lines = [f"{as_wasm.sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    files["sums"].write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(work)
    return files


def pack(folder: Path, file: Path, when: int) -> None:
    """Write a zip file of a folder, which unpacks into a folder of the file's name; the same content, the same file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{file.stem}/{path.relative_to(folder).as_posix()}"
                entry = zipfile.ZipInfo(name, time.gmtime(when)[:6])
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a program in the checkout and return what it prints; ends with its last lines where it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit("\n".join([f"this failed: {' '.join(map(str, command))}", *done.stderr.splitlines()[-8:]]))
    return done.stdout.strip()


def main() -> None:
    """Pack, and say what there is."""
    start = time.monotonic()
    files = build(tell=lambda text: print(f"{time.monotonic() - start:4.0f} s  {text} …", flush=True))
    print(f"{time.monotonic() - start:4.0f} s  {OUTPUT.relative_to(ROOT)}:")
    for path in files.values():
        print(f"  {path.stat().st_size / 1e6:8.1f} MB  {path.name}")


if __name__ == "__main__":
    main()
