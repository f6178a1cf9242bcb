"""Build GNU as for a browser's tab anew, and compare it with the one that is committed: `make as-wasm`.

The source comes from the Debian package that .tab/as/made.json names; .tab/as/build.sh builds it.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".tab" / "as"
MADE = json.loads((HOME / "made.json").read_text(encoding="utf-8"))


def sha256(file: Path) -> str:
    """Return a file's hash, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def package(folder: Path) -> Path:
    """Fetch the Debian package with the source into `folder`, unless it is there, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    name, version = MADE["package"], MADE["version"]
    file = folder / f"{name}_{version}_all.deb"
    if not file.exists():
        run("apt-get", "-qq", "download", f"{name}={version}", cwd=folder)
    return file


def source(folder: Path) -> Path:
    """Return the source's archive, out of the package, in `folder`."""
    run("dpkg-deb", "-x", package(folder), folder / "package")
    file = folder / "package" / "usr" / "src" / "binutils" / MADE["source"]
    if sha256(file) != MADE["sha256"]:
        sys.exit(f"{MADE['source']} is not the one that .tab/as/made.json names: its hash differs")
    return file


def toolchain() -> dict[str, str]:
    """Return which versions of the packages that build it are installed here; "" for none."""
    found = {}
    for name in MADE["toolchain"]:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f=${Version}", name], capture_output=True, text=True, check=False
        )
        found[name] = done.stdout.strip()
    return found


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a program; ends where that fails."""
    if subprocess.run(command, cwd=cwd, check=False).returncode:
        sys.exit(f"this failed: {' '.join(map(str, command))}")


def main() -> int:
    """Build, compare; return 1 where the same tools gave something else."""
    tools = toolchain()
    if not tools["emscripten"]:
        sys.exit("Emscripten is needed: apt-get install emscripten")
    work = ROOT / "build" / "as-wasm"
    out = work / "out"
    shutil.rmtree(work, ignore_errors=True)
    out.mkdir(parents=True)
    run(HOME / "build.sh", source(work), work / "work", out)
    others = [name for name, digest in MADE["made"].items() if sha256(out / name) != digest]
    if not others:
        print("The same, byte for byte, as what is committed.")
        return 0
    differing = [f"{name} {have or 'none'}" for name, have in tools.items() if have != MADE["toolchain"][name]]
    print(f"Differs from what is committed: {', '.join(others)}.")
    if differing:
        print(f"That says nothing: it was made with other tools. Here: {', '.join(differing)}.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
