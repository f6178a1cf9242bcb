"""How many VM-Enters a second the machine runs on one core: `python tests/bench_machine.py`."""

import time
from collections.abc import Callable

from lab_images import STUB, VM, VM_MMIO, lab, patched

from vmenter.emulator.buffers import left
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import VCPU

SECONDS = 1.0  # of each measurement


def rate(work: Callable[[], object]) -> float:
    """Return how often a second `work` can be done."""
    work()
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS:
        work()
        done += 1
    return done / spent


def main() -> None:
    """Print one line for each way to use a machine."""
    image = patched(lab(STUB), VM)
    others = [patched(lab(STUB), *features) for features in ((), (VM,), (VM_MMIO,), (VM, VM_MMIO))]
    machine = Machine(image)
    arguments = {"rdi": VCPU, "rsi": 5}
    steps = len(machine.run("enter", arguments).steps)
    turn = iter(range(1 << 60))
    ways: dict[str, Callable[[], object]] = {
        "run": lambda: machine.run("enter", arguments),
        "run, cleared by what, distance": lambda: machine.run("enter", arguments).distance,
        "run, every access with value and owner": lambda: machine.run("enter", arguments).accesses,
        "run, text and buffers": lambda: left(machine.run("enter", arguments)).text,
        "load another patched image, run, distance": lambda: (
            machine.load(others[next(turn) % 4]),
            machine.run("enter", arguments).distance,
        ),
        "make a machine, run": lambda: Machine(image).run("enter", arguments),
    }
    print(f"VM-Enters a second, a stub of {steps} instructions, all of them traced, one core")
    for name, work in ways.items():
        print(f"{rate(work):>10,.0f}  {name}")


if __name__ == "__main__":
    main()
