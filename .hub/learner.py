"""Start the server of one learner: own copies of the course, private; limits on memory and processes.

A spawner runs this in place of jupyterhub-singleuser, as the learner and where the learner's files are. The copies
are made and brought up to date at each start, as by `vmenter lab`.
"""

import os
import sys
import tempfile
from pathlib import Path

from vmenter.course import copies, opening

SERVER = "jupyterhub.singleuser"
PROCESSES = "--most-processes="  # an option of ours


def private(folder: Path) -> Path:
    """Make a folder, or close it, so that it is the learner's alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
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
    given = sys.argv[1:]
    arguments = [argument for argument in given if not argument.startswith(PROCESSES)]
    limit_processes("".join(argument.removeprefix(PROCESSES) for argument in given if argument not in arguments))
    folder = private(Path.home() / copies.FOLDER)
    print(copies.update(folder).text, file=sys.stderr)
    os.environ.setdefault("VMENTER_PROGRESS", str(folder / "progress.json"))
    # Kernels and server talk through sockets that are files here. The folder is the learner's alone; its name is
    # short, because that of a socket may have some 100 characters.
    os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="vmenter-")
    limit_memory(os.environ.get("MEM_LIMIT", ""))
    if hasattr(os, "nice"):
        os.nice(5)  # the hub and its proxy answer first
    os.environ.update(opening.surroundings(os.environ))
    options = [f"--ServerApp.root_dir={folder}", *opening.terminals(os.environ)]
    os.execv(sys.executable, [sys.executable, "-m", SERVER, *options, *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
