"""The native CPU: Unicorn, which is QEMU's, and translates x86-64 into the code of the machine it runs on.

What has to be known of it: its hooks tell a bogus size for some instructions; code that was translated stays as it
is until it is thrown away; an instruction it does not know and HLT both end it, the latter without a word.

Hooks are its library's own, uc_hook_add: through the Python package, which wraps each in two calls more, tracing
takes half as long again. What a hook raises must not reach the library: it is kept, and raised behind the run.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import unicorn
from unicorn import unicorn_const as const
from unicorn import x86_const as x86
from unicorn.unicorn_py3.unicorn import HOOK_CODE_CFUNC, HOOK_MEM_ACCESS_CFUNC, uclib

from vmenter.emulator.cpu import GENERAL, Fault, Trouble, Watcher

TRANSLATED = 32 << 20  # bytes reserved for the translation of the code that runs
IDS = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in (*GENERAL, "rip", "rflags", "gs_base")}
UNMAPPED = {
    const.UC_MEM_READ_UNMAPPED: Trouble.READ,
    const.UC_MEM_WRITE_UNMAPPED: Trouble.WRITE,
    const.UC_MEM_FETCH_UNMAPPED: Trouble.FETCH,
}


class UnicornRegisters:
    """All registers of one moment."""

    __slots__ = ("context",)

    def __init__(self, context: Any) -> None:
        self.context = context

    def __getitem__(self, register: str) -> int:
        """Return a register as it was."""
        return int(self.context.reg_read(IDS[register]))


class UnicornCpu:
    """A `Cpu` of a model that knows STAC and CLAC."""

    name = "unicorn"
    title = f"Unicorn {unicorn.__version__}"

    def __init__(self) -> None:
        make: Any = unicorn.Uc  # what its methods are is found out when it is made
        self._uc = make(const.UC_ARCH_X86, const.UC_MODE_64)
        self._uc.ctl_set_cpu_model(x86.UC_CPU_X86_ICELAKE_SERVER)
        # Left alone, each one reserves 1 GiB, and ends the whole process where a learner may not have that much.
        self._uc.ctl_set_tcg_buffer_size(TRANSLATED)
        self._unmapped: Fault | None = None  # what access nothing answered
        self._raised: BaseException | None = None  # by a hook
        self._hooks: list[Any] = []  # who hands them to the library keeps them
        self.stop = self._uc.emu_stop

    def map(self, address: int, size: int) -> None:
        """Give memory to whole pages; it holds zeros."""
        self._uc.mem_map(address, size)

    def read(self, address: int, size: int) -> bytes:
        """Return what memory holds."""
        try:
            return bytes(self._uc.mem_read(address, size))
        except unicorn.UcError:
            raise Fault(Trouble.READ, address, size) from None

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory."""
        try:
            self._uc.mem_write(address, data)
        except unicorn.UcError:
            raise Fault(Trouble.WRITE, address, len(data)) from None

    def get(self, register: str) -> int:
        """Return a register, unsigned."""
        return int(self._uc.reg_read(IDS[register]))

    def set(self, register: str, value: int) -> None:
        """Set a register."""
        self._uc.reg_write(IDS[register], value)

    def set_gdt(self, base: int, size: int) -> None:
        """Tell where the descriptors are."""
        self._uc.reg_write(x86.UC_X86_REG_GDTR, (0, base, size - 1, 0))

    def save(self) -> UnicornRegisters:
        """Return all registers."""
        return UnicornRegisters(self._uc.context_save())

    def restore(self, saved: UnicornRegisters) -> None:
        """Bring all registers back."""
        self._unmapped = None
        self._uc.context_restore(saved.context)

    def forget_code(self) -> None:
        """Throw away what was translated."""
        self._uc.ctl_flush_tb()

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher from now on."""
        accesses = const.UC_HOOK_MEM_READ | const.UC_HOOK_MEM_WRITE
        self._hook(const.UC_HOOK_CODE, HOOK_CODE_CFUNC(_code_hook(watcher, self._fail)))
        self._hook(accesses, HOOK_MEM_ACCESS_CFUNC(_access_hook(watcher, self._fail)))
        self._uc.hook_add(const.UC_HOOK_MEM_UNMAPPED, self._on_unmapped)

    def _hook(self, kind: int, function: Any) -> None:
        """Let the library call a function, for any address."""
        handle, every = ctypes.c_size_t(), (ctypes.c_uint64(1), ctypes.c_uint64(0))
        status = uclib.uc_hook_add(self._uc._uch, ctypes.byref(handle), kind, function, None, *every)  # noqa: SLF001
        if status != const.UC_ERR_OK:
            raise unicorn.UcError(status)
        self._hooks.append(function)

    def _fail(self, error: BaseException) -> None:
        """Keep the first thing that a hook raised, and stop."""
        self._raised = self._raised or error
        self._uc.emu_stop()

    def run(self, start: int, until: int) -> None:
        """Execute."""
        self._raised = None
        try:
            self._uc.emu_start(start, until)
            if self._raised is not None:
                raise self._raised
        except unicorn.UcError as error:
            if self._unmapped is not None:
                raise self._unmapped from None
            invalid = error.errno == const.UC_ERR_INSN_INVALID
            raise Fault(Trouble.UNKNOWN if invalid else Trouble.EXCEPTION) from None

    def _on_unmapped(self, _uc: Any, kind: int, address: int, size: int, _value: int, _data: Any) -> bool:
        """Note where an access went that nothing answers, and let it fail."""
        self._unmapped = Fault(UNMAPPED[kind], address, size)
        return False


def _code_hook(watcher: Watcher, fail: Callable[[BaseException], None]) -> Callable[..., None]:
    """Return what tells of an instruction that is about to run. The size is bogus for some: not used."""
    steps, plain = watcher.steps, watcher.plain  # this runs for every instruction: no attribute but one

    def on_code(_engine: Any, address: int, _size: int, _data: Any) -> None:
        try:
            steps.append(address)
            if address not in plain:
                watcher.arrived(address)
            if len(steps) >= watcher.pause_at:
                watcher.paused()
        except BaseException as error:  # noqa: BLE001  (an interrupt, too)
            fail(error)

    return on_code


def _access_hook(watcher: Watcher, fail: Callable[[BaseException], None]) -> Callable[..., None]:
    """Return what tells of an access to memory. For a read the emulator knows no value."""
    steps, accesses, write = watcher.steps, watcher.accesses, const.UC_MEM_WRITE

    def on_access(_engine: Any, kind: int, address: int, size: int, value: int, _data: Any) -> None:
        try:
            accesses.append((len(steps) - 1, address, size, kind == write, value))
        except BaseException as error:  # noqa: BLE001
            fail(error)

    return on_access
