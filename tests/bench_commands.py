"""What `inspect` and `audit` take, as whole processes and within one: `python tests/bench_commands.py [PACKAGE]`.

CPU time (user and system) and clock time, each the least of several runs: on a machine that others use, too, the
least comes nearest to the program's own.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench import machine
from needs import HINT, kernel_files

from vmenter.kernels import holes
from vmenter.kernels.inspect import inspect

RUNS = 7


def process(*arguments: str) -> str:
    """Return what `vmenter` with these arguments takes, in words."""
    cpu, clock = [], []
    for _ in range(RUNS):
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "vmenter", *arguments], stdout=subprocess.DEVNULL)
        _, _, used = os.wait4(child.pid, 0)
        cpu.append(used.ru_utime + used.ru_stime)
        clock.append(time.perf_counter() - start)
    return f"{min(cpu):8.2f} {min(clock):8.2f}"


def within(path: Path) -> float:
    """Return the CPU time of inspecting a module, its audit included, in this process."""
    data, found = path.read_bytes(), []
    for _ in range(RUNS):
        start = time.process_time()
        holes.of_inspected(inspect(data, path.name))
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print a line a module, then the audit, and a package if one is given."""
    print(machine(), end="\n\n")
    print(f"{'':<40}     CPU    clock   CPU within a process, seconds")
    modules = kernel_files("kvm-intel.ko.xz") + kernel_files("kvm-amd.ko.xz")
    for path in modules:
        told = f"inspect {path.parent.name}/{path.name.partition('.')[0]}"
        print(f"{told:<40}{process('inspect', str(path))} {within(path):8.2f}")
    if not modules:
        print(f"inspect: no module here; {HINT}")
    print(f"{'audit of all eras, default space':<40}{process('audit')}")
    for package in sys.argv[1:]:
        size = Path(package).stat().st_size / 1e6
        print(f"{f'inspect a package of {size:.0f} MB':<40}{process('inspect', package)}")


if __name__ == "__main__":
    main()
