"""The models, asked: `select`, `enter`, `audit`."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import click

from vmenter import LabError
from vmenter.cli.shared import JSON, json_lines, progress_bar, show

MAX_LINE = 1 << 20  # bytes of one host; the kernel takes a command line of 2 KiB


ERA = click.option(
    "--era", "era_id", metavar="ERA", required=True, help="Whose way to VM-Enter: 650b68a0622f, say."
)
HOST_OPTIONS = (
    click.option("--bugs", multiple=True, metavar="NAME,…", help="The CPU's flaws: mds,l1tf, say."),
    click.option("--microcode", multiple=True, metavar="NAME,…", help="What CPU and microcode announce."),
    click.option("--cmdline", metavar="TEXT", default="", help="The kernel's command line."),
)


def _host_options(command: Any) -> Any:
    for option in reversed(HOST_OPTIONS):
        command = option(command)
    return command


def _names(lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip() for names in lists for name in names.split(",") if name.strip())


@click.command()
@ERA
@_host_options
@click.option("--stdin", is_flag=True, help="Read hosts from standard input, one JSON object a line.")
@JSON
def select(
    era_id: str, bugs: tuple[str, ...], microcode: tuple[str, ...], cmdline: str, *, stdin: bool, as_json: bool
) -> int:
    """Show what the kernel of an era switches on at boot, and why.

    Names are the kernel's, in lower case: bugs mds msbds_only taa mmio_stale_data rfds l1tf; microcode and CPU
    rtm md_clear flush_l1d mds_no tsx_ctrl_msr fb_clear fb_clear_ctrl fbsdp_no rfds_clear skip_vmentry_l1dflush.
    """
    from vmenter.boot.host import Host  # noqa: PLC0415
    from vmenter.boot.overlooked import overlooked  # noqa: PLC0415
    from vmenter.boot.selection import select  # noqa: PLC0415
    from vmenter.boot.selection_text import decided_json, selection_json, selection_lines  # noqa: PLC0415
    from vmenter.story import history  # noqa: PLC0415

    era = history.era(era_id)
    if stdin:
        if bugs or microcode or cmdline:
            raise LabError("--stdin brings the hosts; leave --bugs, --microcode and --cmdline out")
        show(json.dumps(decided_json(select(host, era.kernel))) for host in _hosts(_lines(sys.stdin.buffer)))
        return 0
    found = select(Host(_names(bugs), _names(microcode), cmdline), era.kernel)
    ignored = overlooked(cmdline)
    if as_json:
        show(json_lines(selection_json(era.id, found) | ({"ignored": list(ignored)} if ignored else {})))
    else:
        show([f"{era.id}: selection of kernel {era.kernel}", *selection_lines(found)])
        show(f"ignored: {line}" for line in ignored)
    return 0


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines of bounded length."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise LabError(f"standard input: a line of more than {MAX_LINE:,} bytes; no host takes that many")
        yield line


def _hosts(lines: Iterable[bytes]) -> Iterator[Any]:
    """Read hosts, one a line; the first bad line is an error that says which."""
    from vmenter.boot.host import host_from_json  # noqa: PLC0415

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield host_from_json(json.loads(line))
        except LabError as error:
            raise LabError(f"standard input, line {number}: {error}") from None
        except (ValueError, RecursionError) as error:  # bad UTF-8, too, is a ValueError
            raise LabError(f"standard input, line {number}: no JSON ({error})") from None


@click.command()
@ERA
@_host_options
@click.option(
    "--mmio",
    is_flag=False,
    flag_value="assigned",
    default="none",
    type=click.Choice(["none", "assigned", "mapped"]),
    help="The vCPU reaches host MMIO: a device is passed through, or (mapped) without one.",
)
@click.option("--guest-fb-clear", is_flag=True, help="The guest enumerates FB_CLEAR.")
@click.option("--flush-pending", is_flag=True, help="The flag for an L1D flush is set.")
@click.option("--resume", is_flag=True, help="The vCPU was entered before.")
@click.option("--same-host-rsp", is_flag=True, help="The VMCS holds the host's RSP already: no VMWRITE.")
@click.option("--same-cr2", is_flag=True, help="CR2 holds the guest's value already: not written.")
@JSON
def enter(
    era_id: str,
    bugs: tuple[str, ...],
    microcode: tuple[str, ...],
    cmdline: str,
    *,
    mmio: str,
    guest_fb_clear: bool,
    flush_pending: bool,
    resume: bool,
    same_host_rsp: bool,
    same_cr2: bool,
    as_json: bool,
) -> int:
    """Run one VM-Enter of an era, and say whether it cleared what was promised: exit status 1 if not.

    Names are those of `vmenter select`. Without options: no flaw, VMLAUNCH, no MMIO, no flush pending.
    """
    from vmenter.boot.host import Host  # noqa: PLC0415
    from vmenter.boot.overlooked import overlooked  # noqa: PLC0415
    from vmenter.story import eras  # noqa: PLC0415
    from vmenter.story.entry_text import to_json, to_text  # noqa: PLC0415
    from vmenter.story.promise import Reach, VCpuState  # noqa: PLC0415

    vcpu = VCpuState(Reach(mmio), flush_pending, resume, guest_fb_clear, not same_host_rsp, not same_cr2)
    entry = eras.enter(era_id, Host(_names(bugs), _names(microcode), cmdline), vcpu)
    show(json_lines(to_json(entry)) if as_json else to_text(entry).split("\n"))
    if not as_json:
        show(f"ignored: {line}" for line in overlooked(cmdline))
    return int(not entry.verdict.kept)


@click.command()
@click.option("--era", "era_ids", metavar="ERA", multiple=True, help="Only this era; repeat.")
@click.option(
    "--module",
    "files",
    metavar="FILE",
    multiple=True,
    help="A real kvm-intel.ko in place of an era, also in a folder or package; repeat.",
)
@click.option("--space", "name", type=click.Choice(["default", "full"]), default="default", show_default=True)
@JSON
def audit(era_ids: tuple[str, ...], files: tuple[str, ...], name: str, *, as_json: bool) -> int:
    """Try every configuration of every era: exit status 1 if any breaks its promise, with the smallest that does.

    A configuration is a CPU with its flaws and facts, a command line, and a vCPU about to be entered. Of a module
    the VM-Enter stub and the C function around it are run, as they are; what is promised is its version's.
    """
    from vmenter.kernels.module_era import of_path  # noqa: PLC0415
    from vmenter.story import audit_text  # noqa: PLC0415
    from vmenter.story.audit import audit  # noqa: PLC0415
    from vmenter.story.history import ERAS, era  # noqa: PLC0415
    from vmenter.story.space import SPACES  # noqa: PLC0415

    space, chosen, done = SPACES[name], [era(id_) for id_ in era_ids], []
    chosen += [one for file in files for one in of_path(file)]
    chosen = chosen or list(ERAS.values())
    if not as_json:
        show([*audit_text.space_lines(space), ""])
    try:
        for one in chosen:
            with progress_bar() as bar:
                found = audit(one, space, bar)
            done.append(found)
            if not as_json:
                show([*audit_text.audit_lines(found), ""])
    finally:  # interrupted, too: what is done is not lost
        if as_json:
            show(json_lines(audit_text.to_json(space, done)))
    return int(any(found.broken or found.failed for found in done))
