"""The command line, read the way the kernel reads it.

Splitting and quoting follow kernel/params.c; the words each option knows follow its handler in
arch/x86/kernel/cpu/bugs.c, kernel/cpu.c (`mitigations=`, `nosmt`), arch/x86/kernel/cpu/tsx.c (`tsx=`) and
arch/x86/kvm/vmx/vmx.c (`kvm-intel.…`). Three habits of those handlers surprise people, and all three
are kept: an option whose bug the CPU lacks is dropped, an unknown word changes nothing and mostly is
not even mentioned, and "nosmt", once wished, is never taken back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vmenter.boot.generations import Generation
    from vmenter.boot.host import Host


@dataclass(frozen=True)
class Decision:
    """One link of the why-chain: what was decided on, how, and why, in plain words."""

    subject: str
    outcome: str
    reason: str


VECTORS: Final = ("user_kernel", "user_user", "guest_host", "guest_guest")
"""Who attacks whom; newer kernels let each pair be left unprotected."""


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for, as the kernel holds it before it selects anything.

    `own` has an entry for each of mds, taa, mmio, rfds, l1tf that was given a known word.
    `cross_thread` is what `mitigations=` says of SMT: "auto", "on" (switch it off if need be) or "off"
    (do not care). `vectors` are the attack vectors still protected.
    """

    mitigations: str = "auto"
    vectors: tuple[str, ...] = VECTORS
    cross_thread: str = "auto"
    own: tuple[tuple[str, str], ...] = ()
    nosmt: frozenset[str] = frozenset()
    smt_off: bool = False
    tsx: str | None = None
    vmentry_l1d_flush: str = "auto"
    ept: bool = True

    def of(self, flaw: str) -> str | None:
        """Return the word the flaw's own option was last given, None without one."""
        return next((word for name, word in self.own if name == flaw), None)


@dataclass(frozen=True)
class _Option:
    """An option for one flaw. `needs`: the bug without which its handler returns at once."""

    flaw: str
    needs: str
    words: tuple[str, ...]


_FULL = ("off", "full", "full,nosmt")
_OPTIONS: Final = {
    "mds": _Option("mds", "mds", _FULL),
    "tsx_async_abort": _Option("taa", "taa", _FULL),
    "mmio_stale_data": _Option("mmio", "mmio_stale_data", _FULL),
    "reg_file_data_sampling": _Option("rfds", "rfds", ("off", "on")),
    "l1tf": _Option("l1tf", "l1tf", ("off", "flush,nowarn", "flush", "flush,nosmt", "full", "full,force")),
}
_L1D_FLUSH_WORDS = ("auto", "never", "cond", "always")
# A run without blanks, where blanks between double quotes do not count.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*(?:"|\Z))+', re.ASCII)


def split_cmdline(cmdline: str) -> list[tuple[str, str | None]]:
    """Cut a command line into (name, value); the value is None where there is no `=`.

    In a name `-` and `_` are the same. Words after a lone `--` belong to init and are left out.
    """
    found: list[tuple[str, str | None]] = []
    for word in _WORD.findall(cmdline):
        quoted = word.startswith('"')
        text = word[1:] if quoted else word
        # An = in first place does not separate anything.
        cut = text.find("=", 1)
        name, value = (text, None) if cut < 0 else (text[:cut], text[cut + 1 :])
        if value is None:
            name = name.removesuffix('"') if quoted else name
        elif value.startswith('"'):
            value = value[1:].removesuffix('"')
        elif quoted:
            value = value.removesuffix('"')
        if name == "--" and value is None:
            break
        found.append((name.replace("-", "_"), value))
    return found


def read_options(host: Host, kernel: Generation) -> tuple[Wishes, list[Decision]]:
    """Read the host's command line as `kernel` does. Returns its wishes and what became of each option."""
    wishes = Wishes()
    said: list[Decision] = []
    for name, value in split_cmdline(host.cmdline):
        if name in _OPTIONS:
            wishes, outcome, reason = _own_option(wishes, _OPTIONS[name], value, host, kernel)
        elif name == "mitigations":
            wishes, outcome, reason = _mitigations(wishes, value, kernel)
        elif name == "nosmt":
            wishes = replace(wishes, smt_off=True)
            outcome, reason = "SMT off", "the administrator switches the sibling threads off"
        elif name == "tsx":
            wishes, outcome, reason = _tsx(wishes, value, host, kernel)
        elif name in {"kvm_intel.vmentry_l1d_flush", "kvm_intel.ept"}:
            wishes, outcome, reason = _kvm_parameter(wishes, name, value, host, kernel)
        else:
            continue
        said.append(Decision(name if value is None else f"{name}={value}", outcome, reason))
    return wishes, said


_Read = tuple[Wishes, str, str]
_NO_SUCH_OPTION = "this kernel has no option of that name and leaves the word to init"


def _own_option(wishes: Wishes, option: _Option, value: str | None, host: Host, kernel: Generation) -> _Read:
    if option.needs not in kernel.bugs:
        return wishes, "no effect", _NO_SUCH_OPTION
    if option.needs not in host.bugs:
        return wishes, "no effect", "the CPU does not have that bug, so the option is dropped unread"
    if value is None:
        return wishes, "no effect", "the option needs a value; the kernel logs it as malformed"
    if value not in option.words:
        known = ", ".join(f"'{word}'" for word in option.words)
        return wishes, "no effect", f"not one of {known}; the kernel passes over it without a message"
    flaw = option.flaw
    own = (*(pair for pair in wishes.own if pair[0] != flaw), (flaw, value))
    wishes = replace(wishes, own=own)
    # For L1TF the words flush,nosmt and full say all; the others keep the wish in a variable of its own.
    if value == "full,nosmt":
        wishes = replace(wishes, nosmt=wishes.nosmt | {flaw})
    if flaw in wishes.nosmt and value != "full,nosmt":
        return wishes, f"{flaw}: {value}", "the last one counts, but an earlier wish for nosmt stays"
    return wishes, f"{flaw}: {value}", "the last one counts"


def _mitigations(wishes: Wishes, value: str | None, kernel: Generation) -> _Read:
    if kernel.word_match == "none":
        return wishes, "no effect", _NO_SUCH_OPTION
    if value is None:
        return (
            wishes,
            "no effect",
            "it needs a value, and its handler does not check for one: do not boot this",
        )
    if kernel.word_match == "prefix":
        return _mitigations_by_prefix(wishes, value)
    if value not in {"off", "auto", "auto,nosmt"}:
        return wishes, "no effect", "not 'off', 'auto' or 'auto,nosmt' as a whole; what was set before stays"
    cross_thread = "on" if value == "auto,nosmt" else "auto"
    wishes = replace(wishes, mitigations=value, cross_thread=cross_thread)
    return wishes, value, "the last one counts"


def _mitigations_by_prefix(wishes: Wishes, value: str) -> _Read:
    """Read `mitigations=` as kernels with attack vectors do: a known beginning, then `,no_…` words.

    Nothing ever protects a vector again: after `mitigations=off` a later `auto` finds them all gone.
    """
    known = next((word for word in ("auto,nosmt", "auto", "off") if value.startswith(word)), "")
    if known:
        wishes = replace(wishes, mitigations=known)
    # Decided from the stored word, hence also when this option named none.
    if wishes.mitigations == "off":
        wishes = replace(wishes, vectors=(), cross_thread="off")
    elif wishes.mitigations == "auto,nosmt":
        wishes = replace(wishes, cross_thread="on")
    rest = value[len(known) :]
    if not rest:
        return wishes, wishes.mitigations, _vectors_left(wishes)
    if not rest.startswith(","):
        return (
            wishes,
            wishes.mitigations,
            f"'{rest}' is logged as unsupported and dropped; {_vectors_left(wishes)}",
        )
    for word in rest[1:].split(","):
        if word == "no_cross_thread":
            wishes = replace(wishes, cross_thread="off")
        elif word.removeprefix("no_") in VECTORS and word.startswith("no_"):
            left = tuple(vector for vector in wishes.vectors if f"no_{vector}" != word)
            wishes = replace(wishes, vectors=left)
        else:
            reason = f"reading stops at '{word}', which is logged as unsupported; {_vectors_left(wishes)}"
            return wishes, wishes.mitigations, reason
    return wishes, wishes.mitigations, _vectors_left(wishes)


def _vectors_left(wishes: Wishes) -> str:
    return f"attack vectors still protected: {', '.join(wishes.vectors) or 'none'}"


def _tsx(wishes: Wishes, value: str | None, host: Host, kernel: Generation) -> _Read:
    if not kernel.tsx_option:
        return wishes, "no effect", _NO_SUCH_OPTION
    if not host.has("tsx_ctrl_msr"):
        return wishes, "no effect", "without the TSX_CTRL register the kernel cannot switch TSX"
    if value is None:
        return wishes, "no effect", "the option needs a value"
    if value == "auto":
        chosen = "off" if "taa" in host.bugs else "on"
        return replace(wishes, tsx=chosen), f"TSX {chosen}", "auto: off on CPUs with TAA, on elsewhere"
    if value in {"on", "off"}:
        return replace(wishes, tsx=value), f"TSX {value}", "the last one counts"
    return replace(wishes, tsx="off"), "TSX off", "an unknown word is logged and taken for off"


def _kvm_parameter(wishes: Wishes, name: str, value: str | None, host: Host, kernel: Generation) -> _Read:
    refused = "KVM refuses the value: built in, it keeps the old one; as a module it does not load"
    if name == "kvm_intel.ept":
        # A bare yes-or-no parameter means yes.
        letters = "y" if value is None else value
        if letters[:1] in tuple(kernel.true_letters) or letters[:2].lower() == "on":
            return replace(wishes, ept=True), "EPT allowed", "the last one counts"
        if letters[:1] in tuple(kernel.false_letters) or letters[:2].lower() == "of":
            return replace(wishes, ept=False), "EPT off", "guests run on shadow page tables"
        return wishes, "no effect", refused
    if value not in _L1D_FLUSH_WORDS:
        return wishes, "no effect", refused
    if "l1tf" not in host.bugs:
        return wishes, "no effect", "the CPU does not have L1TF, so KVM does not keep the value"
    return replace(wishes, vmentry_l1d_flush=value), f"asks KVM for '{value}'", "the last one counts"
