"""How many VM-Enters a second the machine runs on one core, on either CPU: `python tests/bench_machine.py`."""

import time
from collections.abc import Callable

from lab_images import STUB, VM, VM_MMIO, code, lab, patched

from vmenter.emulator.buffers import left
from vmenter.emulator.choice import NAMES, new_cpu
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import FLUSH_PAGES, VCPU

LOOP = "xor %eax, %eax\n1: movzbl (%rdi,%rax), %ecx\nadd $16, %eax\ncmp $0x10000, %eax\njne 1b\nvmlaunch"
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
    """Print one line for each way to use a machine, for each CPU."""
    for name in NAMES:
        measure(name)


def measure(cpu: str) -> None:
    """Print the lines of one CPU."""
    image = patched(lab(STUB), VM)
    others = [patched(lab(STUB), *features) for features in ((), (VM,), (VM_MMIO,), (VM, VM_MMIO))]
    machine = Machine(image, cpu=cpu)
    arguments = {"rdi": VCPU, "rsi": 5}
    steps = len(machine.run("enter", arguments).steps)
    looping = Machine(code(LOOP), cpu=cpu)
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
        "run a loop of 4,096 loads over 64 KiB": lambda: looping.run("start", {"rdi": FLUSH_PAGES}),
        "make a machine, run": lambda: Machine(image, cpu=cpu).run("enter", arguments),
    }
    print(
        f"VM-Enters a second, a stub of {steps} instructions, all of them traced, one core, {new_cpu(cpu).title}"
    )
    for name, work in ways.items():
        print(f"{rate(work):>10,.0f}  {name}")


if __name__ == "__main__":
    main()
