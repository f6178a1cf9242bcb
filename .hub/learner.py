"""Start the server of one learner: a private copy of the course and progress file, limits on memory and processes.

A spawner runs this in place of jupyterhub-singleuser, as the learner and where the learner's files are. What the
learner has changed is never written over; a notebook that was deleted or renamed comes anew at the next start.
"""

import os
import sys
import tempfile
from pathlib import Path

COURSE = Path(__file__).resolve().parent.parent
FOLDER = "vmenter-lab"  # under the learner's home
SERVER = "jupyterhub.singleuser"
PROCESSES = "--most-processes="  # an option of ours
FOR_LEADERS = {"INSTRUCTOR.md"}


def copy_course(home: Path, course: Path = COURSE) -> Path:
    """Put the notebooks that are not there yet under `home`, each whole or not at all. Returns their folder.

    The folder is the learner's alone: at each start it is closed to all others.
    """
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    notebooks = folder / "notebooks"
    notebooks.mkdir(exist_ok=True)
    for original in sorted((course / "notebooks").iterdir()):
        own = notebooks / original.name
        if original.suffix in {".ipynb", ".md"} and original.name not in FOR_LEADERS and not own.exists():
            fresh = own.with_name(f".{own.name}.new")
            fresh.write_bytes(original.read_bytes())
            fresh.replace(own)
    return folder


def limit_memory(limit: str) -> None:
    """Let each process that starts from here have at most `limit` bytes of its own; no number, no limit.

    Spawners over containers or systemd count a learner's processes together and need no help. Those that start
    plain processes enforce nothing: there, this makes a greedy cell a MemoryError, and nobody else suffers.
    """
    if limit.isdecimal() and sys.platform == "linux":
        import resource  # noqa: PLC0415  (not everywhere)

        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))


def limit_processes(limit: str) -> None:
    """Let the learner's account have at most `limit` processes and threads; no number, no limit.

    The kernel counts by account and lets root go: this is for spawners that give each learner an account.
    """
    if limit.isdecimal() and sys.platform == "linux":
        import resource  # noqa: PLC0415  (not everywhere)

        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        wanted = int(limit) if most == resource.RLIM_INFINITY else min(int(limit), most)
        resource.setrlimit(resource.RLIMIT_NPROC, (wanted, wanted))


def main() -> None:
    """Become the learner's server."""
    os.umask(0o077)
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith(PROCESSES)]
    limit_processes(
        "".join(argument.removeprefix(PROCESSES) for argument in sys.argv[1:] if argument not in arguments)
    )
    folder = copy_course(Path.home())
    os.environ.setdefault("VMENTER_PROGRESS", str(folder / "progress.json"))
    # Kernels and server talk through sockets that are files here. The folder is the learner's alone; its name is
    # short, because that of a socket may have some 100 characters.
    os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="vmenter-")
    limit_memory(os.environ.get("MEM_LIMIT", ""))
    if hasattr(os, "nice"):
        os.nice(5)  # the hub and its proxy answer first
    root = f"--ServerApp.root_dir={folder}"
    os.execv(sys.executable, [sys.executable, "-m", SERVER, root, *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
