"""What on a command line looks meant and is none of the kernel's options: `select` says so.

The kernel passes over such words without a message, which is what `boot_options` does, too. A person has mistyped
something, or pasted a line from a file in which the command line only stands.
"""

import re

from vmenter import nearest
from vmenter.boot.options import split_cmdline

_OWN = (
    *(
        "mitigations",
        "mds",
        "tsx_async_abort",
        "mmio_stale_data",
        "reg_file_data_sampling",
        "l1tf",
        "nosmt",
        "tsx",
    ),
    *("kvm_intel.vmentry_l1d_flush", "kvm_intel.ept"),
)
_OTHERS = ("kvm_amd.", "kvm.")  # of other modules, and not mistyped
_VARIABLE = re.compile(
    r'["\']?((?:export_)?GRUB_CMDLINE_\w+|KERNEL_CMDLINE|kernel_cmdline|CMDLINE)\Z', re.IGNORECASE
)
_WORDS = r"(?:off|on|full|auto|force|flush|never|cond|always|[01yn])(?:,\w+)*"
_SHORT = {name.partition(".")[2]: name for name in _OWN if "." in name}


def overlooked(cmdline: str) -> tuple[str, ...]:
    """Return a sentence for each thing on a command line that the kernel ignores and that looks meant."""
    if re.match(r"\s*options\s+kvm[_-]intel\b", cmdline):
        return (_modprobe(cmdline),)
    found = (_word(name, value) for name, value in split_cmdline(cmdline))
    return tuple(dict.fromkeys(sentence for sentence in found if sentence))


def _modprobe(cmdline: str) -> str:
    rest = cmdline.split()[2:]
    meant = " ".join(f"kvm-intel.{word}" for word in rest)
    return "a line of modprobe.d is no command line: " + (
        f"there, the same is {meant}" if meant else "it names no parameter"
    )


def _word(name: str, value: str | None) -> str | None:
    text = name if value is None else f"{name}={value}"
    if _VARIABLE.fullmatch(name):
        return f"{name} is a variable of a boot loader's file; give what stands between its quotes"
    if name in _OWN:
        return _value(name, value)
    if name in _SHORT:
        return f"{text}: a parameter of KVM's module; on the command line it is kvm-intel.{name}"
    if name.startswith(_OTHERS):
        return None
    if name.lower() in _OWN:
        return f"{text}: names of options are in lower case: {name.lower()}"
    signs = re.fullmatch(rf"[-_]*({'|'.join(_OWN)})(?:[:_-]({_WORDS}))?", name.lower())
    if signs:  # --mds=off, mds:off, mds-off
        given = signs[2] or value
        meant = signs[1].replace("kvm_intel", "kvm-intel") + (f"={given}" if given else "")
        return f"{text}: the kernel has no such option; is {meant} meant?"
    found = nearest(name.lower(), _OWN, alike=0.85) if len(name) > 3 else []
    return (
        f"{text}: the kernel has no such option; is {found[0].replace('kvm_intel', 'kvm-intel')} meant?"
        if found
        else None
    )


def _value(name: str, value: str | None) -> str | None:
    """Say that a value is written otherwise than the kernel compares it: letter for letter."""
    if value is None or name == "kvm_intel.ept" or value == value.lower():
        return None
    return (
        f"{name}={value}: the kernel compares letter for letter, and its words are in lower case: {value.lower()}"
    )
