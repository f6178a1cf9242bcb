"""A JupyterHub on loopback, made of the recipe in .hub, in a folder of its own; and what it takes of the machine."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60  # seconds that the hub may take to answer
MIB = 1 << 20


@dataclass(frozen=True)
class Use:
    """What processes take: bytes of memory and seconds of CPU.

    `pss`: own memory, and of shared pages a fair share; sums of it add up. `uss`: own memory alone. `rss`: every
    page counted in full. `cpu`: seconds of CPU time so far.
    """

    pss: int = 0
    uss: int = 0
    rss: int = 0
    cpu: float = 0.0

    def __add__(self, other: "Use") -> "Use":
        return Use(self.pss + other.pss, self.uss + other.uss, self.rss + other.rss, self.cpu + other.cpu)


def use_of(processes: list[psutil.Process]) -> Use:
    """Return what these processes take together; what has ended meanwhile takes nothing."""
    total = Use()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            memory, times = process.memory_full_info(), process.cpu_times()
            total += Use(memory.pss, memory.uss, memory.rss, times.user + times.system)
    return total


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody listens on."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


class Room:
    """The hub, its proxy and its culler, running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.homes = folder / "h"  # a short name, for the kernels' sockets
        self.homes.mkdir()
        ports = free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.api = f"http://127.0.0.1:{ports[1]}/hub/api"
        self.password, self.token = secrets.token_hex(8), secrets.token_hex(16)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "VMENTER_PROGRESS"},
            "ROOM_RECIPE": str(ROOT / ".hub" / "jupyterhub_config.py"),
            "ROOM_HOMES": str(self.homes),
            "ROOM_PASSWORD": self.password,
            "ROOM_PORTS": ",".join(map(str, ports)),
            "ROOM_TOKEN": self.token,
            "VMENTER_HUB_STATE": str(folder / "state"),
        }
        self.log = folder / "hub.log"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).parent / "config.py")],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.url}/hub/health", timeout=2).close()
                return self
            time.sleep(0.1)
        self.__exit__()
        raise SystemExit(f"the hub did not start; its last words:\n{self.last_words()}")

    def __exit__(self, *_: object) -> None:
        """Send everybody home: the hub stops its servers, and what is left after that is ended."""
        everybody = self.process.children(recursive=True) if self.process.is_running() else []
        self.process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs([self.process, *everybody], timeout=30)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def last_words(self) -> str:
        """Return the end of the hub's log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])

    def server(self, name: str) -> psutil.Process | None:
        """Return the process of a learner's server."""
        for process in self.process.children(recursive=True):
            with suppress(psutil.Error):
                mine = process.environ().get("JUPYTERHUB_USER") == name
                if mine and "jupyterhub.singleuser" in process.cmdline():
                    return process
        return None

    def processes_of(self, name: str) -> list[psutil.Process]:
        """Return a learner's server and, behind it, the kernels."""
        server = self.server(name)
        return [server, *server.children(recursive=True)] if server else []

    def own_processes(self, learners: list[str]) -> list[psutil.Process]:
        """Return the hub, its proxy and its culler: all but the learners' servers and kernels."""
        theirs = {process.pid for name in learners for process in self.processes_of(name)}
        family = [self.process, *self.process.children(recursive=True)]
        return [process for process in family if process.pid not in theirs]

    def closing_time(self, idle: int = 1) -> subprocess.Popen[bytes]:
        """Start the culler of the recipe with its rights, but impatient: what was idle for a second is stopped."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={idle}", "--cull-every=1"),
                f"--url={self.api}",
            ],
            env={**self.environment, "JUPYTERHUB_API_TOKEN": self.token},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "culler.log").open("wb"),
        )
