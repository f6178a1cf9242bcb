"""The `vmenter enter` line that shows one configuration; `enter_line` reads it back."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from vmenter.story.promise import Reach

if TYPE_CHECKING:
    from vmenter.boot.host import Host
    from vmenter.story.history import Era
    from vmenter.story.promise import VCpuState


def replay(era: Era, host: Host, vcpu: VCpuState) -> str:
    """Return the `vmenter enter` that shows one configuration. A CPU without EPT is given as kvm-intel.ept=0."""
    cmdline = host.cmdline if host.ept else f"{host.cmdline} kvm-intel.ept=0".strip()
    words = ["vmenter", "enter", "--era", era.module.like if era.module else era.id]
    for option, text in (
        ("--bugs", ",".join(host.bugs)),
        ("--microcode", ",".join(host.facts)),
        ("--cmdline", cmdline),
    ):
        words += [option, text] if text else []
    words += ["--mmio", str(vcpu.mmio)] if vcpu.mmio is not Reach.NONE else []
    flags = {
        "--flush-pending": vcpu.flush_pending,
        "--resume": vcpu.resume,
        "--guest-fb-clear": vcpu.guest_fb_clear,
    }
    return shlex.join((*words, *(flag for flag, is_set in flags.items() if is_set)))
