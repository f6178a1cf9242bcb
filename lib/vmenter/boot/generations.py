"""Kernels whose boot-time selection is known, and how they differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vmenter import LabError
from vmenter.patching.features import parse_version


@dataclass(frozen=True)
class Generation:
    """One kernel's selection, as far as it differs from the others'.

    `clears`: the features and static keys that turn VERW on for everyone, user exits and VM-Enter.
    `mmio_only`: those that turn it on only for guests that reach MMIO. `idle_key`: VERW before idling.
    `word_match`: how `mitigations=` is compared: not at all, whole words, or a prefix that attack vectors
    may follow. `true_letters`, `false_letters`: what a yes-or-no parameter may begin with, apart from
    "on" and "off".
    """

    kernel: str
    bugs: frozenset[str]
    word_match: Literal["none", "exact", "prefix"] = "exact"
    clear_features: tuple[str, ...] = ()
    clear_keys: tuple[str, ...] = ()
    mmio_only_features: tuple[str, ...] = ()
    mmio_only_keys: tuple[str, ...] = ()
    idle_key: str = "cpu_buf_idle_clear"
    tsx_option: bool = True
    true_letters: str = "1yYtT"
    false_letters: str = "0nNfF"


_5_0 = Generation(
    kernel="5.0",
    bugs=frozenset({"l1tf"}),
    word_match="none",
    tsx_option=False,
    true_letters="1yY",
    false_letters="0nN",
)
_5_2 = replace(
    _5_0,
    kernel="5.2",
    bugs=_5_0.bugs | {"mds", "msbds_only"},
    word_match="exact",
    clear_keys=("mds_user_clear",),
    idle_key="mds_idle_clear",
)
_5_19 = Generation(
    kernel="5.19",
    bugs=_5_2.bugs | {"taa", "mmio_stale_data"},
    clear_keys=("mds_user_clear",),
    mmio_only_keys=("mmio_stale_data_clear",),
    idle_key="mds_idle_clear",
)
_6_0 = replace(_5_19, kernel="6.0", bugs=_5_19.bugs | {"mmio_unknown"})
_6_12 = Generation(
    kernel="6.12.117",
    bugs=_6_0.bugs | {"rfds"},
    clear_features=("CLEAR_CPU_BUF",),
    mmio_only_keys=("mmio_stale_data_clear",),
)
_6_17 = replace(
    _6_12,
    kernel="6.17",
    bugs=_6_12.bugs - {"mmio_unknown"},
    word_match="prefix",
    mmio_only_keys=("cpu_buf_vm_clear",),
    true_letters="1yYtTeE",
    false_letters="0nNfFdD",
)
_7_3 = replace(
    _6_17,
    kernel="7.3.4",
    clear_features=("CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"),
    mmio_only_features=("CLEAR_CPU_BUF_VM_MMIO",),
    mmio_only_keys=(),
)

GENERATIONS: dict[str, Generation] = {
    g.kernel: g
    for g in (
        _5_0,
        _5_2,
        _5_19,
        _6_0,
        replace(_6_12, kernel="6.8", bugs=_6_0.bugs),
        replace(_6_12, kernel="5.10.262"),
        replace(_6_12, kernel="6.1.192"),
        _6_12,
        _6_17,
        _7_3,
    )
}
"""Kernel version → its selection."""

_LATER = (((6, 19), "7.3.4"), ((6, 17), "6.17"))  # from this version on, kernels select as that one does


def later(point: tuple[int, ...]) -> str | None:
    """Return the kernel whose selection one of v6.17 or newer has, by its number alone; None for an older one."""
    return next((kernel for since, kernel in _LATER if point[:2] >= since), None)


def closest(release: str) -> str:
    """Return the kernel whose selection a kernel with all its updates has: "6.18.15" selects as "6.17" does.

    Before v6.17 that is its own where it was read, else that of 6.12.117: updates brought the later flaws.
    `LabError` for what is no version.
    """
    point = parse_version(release)
    own = ".".join(map(str, point))
    return own if own in GENERATIONS else later(point) or _6_12.kernel


def generation(kernel: str) -> Generation:
    """Find a generation by its kernel's version. Raises `LabError`, with those there are, for another one."""
    found = GENERATIONS.get(kernel)
    if found is None:
        raise LabError(f"kernel: the selection of {kernel!r} is not known; use one of: {' '.join(GENERATIONS)}")
    return found
