"""The command line, `vmenter`: for people who have a kernel and a question.

Exit status: 0 fine, 1 a finding, 2 bad input (one line on standard error, never a traceback).
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from vmenter import LabError
from vmenter.code.files import read
from vmenter.code.visible import visible

MAX_TEXT = 64 << 20  # bytes; a System.map has some 10 MB
MAX_REPORT = 16 << 20  # bytes of what a machine says of itself; a journal of one boot has some 5 MB
MAX_LINE = 1 << 20  # bytes of one host; the kernel takes a command line of 2 KiB
FILE = click.argument("file", metavar="FILE")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed before we were started
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  (as long as we run)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = commands.main(args=arguments, prog_name="vmenter", standalone_mode=False)
    except (LabError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print("vmenter:", visible(" ".join(message.split())), file=sys.stderr)
        status = 2
    except OSError as error:  # where click prints; all that is read or written elsewhere has its LabError
        _drop_output()
        print("vmenter: standard output cannot be written:", error.strerror or error, file=sys.stderr)
        status = 2
    except MemoryError:
        print("vmenter: this input asks for more memory than there is", file=sys.stderr)
        status = 2
    except (KeyboardInterrupt, click.Abort):
        print("vmenter: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="vmenter", message="vmenter %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """See what Linux does right before it enters a guest."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@commands.command()
@JSON
def doctor(*, as_json: bool) -> int:
    """Say what works on this machine, and how to install what is missing."""
    from dataclasses import asdict  # noqa: PLC0415

    from vmenter.course.doctor import examine, report  # noqa: PLC0415

    checks = examine()
    _print(_json([asdict(check) for check in checks]) if as_json else report(checks).split("\n"))
    return int(any(check.needed and not check.works for check in checks))


@commands.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--folder", metavar="DIR", help="Where your copies are, or shall be; vmenter-lab in your home if not given."
)
@click.option(
    "--course", metavar="DIR", help="The checkout of the course; the one this program stands in if not given."
)
@click.option("--no-open", is_flag=True, help="Only make or update the copies.")
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
def lab(folder: str | None, course: str | None, jupyter: tuple[str, ...], *, no_open: bool) -> int:
    """Make or update your own copies of the course and open them in JupyterLab; what you changed is kept.

    Other options, such as --no-browser, go to JupyterLab.
    """
    from vmenter.course import copies  # noqa: PLC0415

    own = Path(folder) if folder else _home() / copies.FOLDER
    done = copies.update(own, Path(course) if course else copies.CHECKOUT)
    _print(done.text.split("\n"))
    if not no_open:
        copies.open_lab(done.folder, jupyter)
    return 0


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise LabError("no home is known here; name a folder for your copies with --folder DIR") from error


@commands.command()
@FILE
@click.option(
    "--feature", "names", multiple=True, metavar="NAME", help="A feature the CPU has (or 3*32+18); repeat."
)
@click.option(
    "--feature-words", metavar="HEX,…", help="All of the CPU's features, as 32-bit words from word 0 on."
)
@click.option("--symbols", metavar="FILE", help="A System.map or a copy of /proc/kallsyms.")
@click.option(
    "--vmlinux", metavar="FILE", help="The kernel a module is for: decides what is called through pv_ops."
)
@click.option("--engine", type=click.Choice(["early", "layered", "once"]), help="How this kernel patches itself.")
@click.option("--nops", type=click.Choice(["p6", "k8"]), help="The NOPs its CPU gets: up to v5.12 it decides.")
@click.option("--function", metavar="NAME", help="Only the sites in this function.")
@JSON
def sites(
    file: str,
    names: tuple[str, ...],
    feature_words: str | None,
    symbols: str | None,
    vmlinux: str | None,
    engine: str | None,
    nops: str | None,
    function: str | None,
    *,
    as_json: bool,
) -> int:
    """Show every alternative site of FILE, and its bytes under the given features (none given: only ALWAYS).

    FILE is a .o, .ko, vmlinux or vmlinuz, also packed as .xz, .gz or .zst. A vmlinuz has no names: with --vmlinux,
    give that kernel's --symbols, too.
    """
    from vmenter.code.image import load, older_first  # noqa: PLC0415
    from vmenter.code.symbols import Symbols  # noqa: PLC0415
    from vmenter.patching import alternatives, features, other_patchers  # noqa: PLC0415
    from vmenter.patching.alternative_table import Engine  # noqa: PLC0415
    from vmenter.patching.alternative_table import read as read_table  # noqa: PLC0415
    from vmenter.patching.text import to_json, to_text  # noqa: PLC0415

    if names and feature_words is not None:
        raise LabError("give --feature or --feature-words, not both")
    text = read(symbols, MAX_TEXT, "list of symbols") if symbols else b""
    known = Symbols.from_text(text, symbols) if symbols else Symbols()
    if vmlinux:
        kernel = load(vmlinux)
        image = load(file, beside=kernel.with_symbols(kernel.symbols + known))
    else:
        image = load(file)
        image = image.with_symbols(image.symbols + known)
    chosen = Engine(engine) if engine else None
    try:
        how, entries, found = read_table(image, engine=chosen, nops=nops)
    except LabError as error:
        raise older_first(image, error) from None
    if feature_words is None:
        present = frozenset(features.number(name, image.kernel) for name in names)
    else:
        present = features.from_words(features.parse_words(feature_words))
    if function is not None:
        start, end = image.symbols.extent(function)
        found = tuple(site for site in found if start <= site.address < end)
    found = other_patchers.marked(image, found)
    patches = (alternatives.patch(image, site, present, how) for site in _progress(found, "patching"))
    write = to_json if as_json else to_text
    result = write(image, how, len(entries), patches)
    _print(_json(result) if as_json else result)
    return 0


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


@commands.command()
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
    from vmenter.boot.selection_text import selection_json, selection_lines  # noqa: PLC0415
    from vmenter.story import history  # noqa: PLC0415

    era = history.era(era_id)
    if stdin:
        if bugs or microcode or cmdline:
            raise LabError("--stdin brings the hosts; leave --bugs, --microcode and --cmdline out")
        _print(json.dumps(select(host, era.kernel).to_json()) for host in _hosts(_lines(sys.stdin.buffer)))
        return 0
    found = select(Host(_names(bugs), _names(microcode), cmdline), era.kernel)
    ignored = overlooked(cmdline)
    if as_json:
        _print(_json(selection_json(era.id, found) | ({"ignored": list(ignored)} if ignored else {})))
    else:
        _print([f"{era.id}: selection of kernel {era.kernel}", *selection_lines(found)])
        _print(f"ignored: {line}" for line in ignored)
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


@commands.command()
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
    _print(_json(to_json(entry)) if as_json else to_text(entry).split("\n"))
    if not as_json:
        _print(f"ignored: {line}" for line in overlooked(cmdline))
    return int(not entry.verdict.kept)


@commands.command()
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
        _print([*audit_text.space_lines(space), ""])
    try:
        for one in chosen:
            with _bar() as bar:
                found = audit(one, space, bar)
            done.append(found)
            if not as_json:
                _print([*audit_text.audit_lines(found), ""])
    finally:  # interrupted, too: what is done is not lost
        if as_json:
            _print(_json(audit_text.to_json(space, done)))
    return int(any(found.broken or found.failed for found in done))


@commands.command()
@click.argument("package", metavar="[PACKAGE|newest]", default="newest")
@click.option("--suite", metavar="NAME", help="Another suite of this machine's mirror, such as sid.")
@click.option("--list", "as_list", is_flag=True, help="Only print the kernel packages there are.")
def fetch(package: str, suite: str | None, *, as_list: bool) -> int:
    """Fetch a kernel's package through apt, and print the folder with its KVM modules and vmlinuz.

    PACKAGE is a name such as linux-image-amd64, or NAME=VERSION. What was fetched once needs no network again.
    """
    from vmenter.kernels.fetch import available, fetch  # noqa: PLC0415

    with _bar() as bar:
        if as_list:
            found: list[Any] = list(available(suite, bar))
        else:
            found = [fetch(None if package == "newest" else package, suite, bar)]
    _print(found)
    return 0


@commands.command()
@click.option(
    "--from", "source", metavar="FILE", help="Explain what another machine printed; - is standard input."
)
@click.option("--how", is_flag=True, help="Print the line to run on another machine.")
@JSON
def host(source: str | None, *, how: bool, as_json: bool) -> int:
    """Explain what a machine's kernel says of its flaws, and what a VM-Enter does there.

    Reads this machine, or with --from what another one printed; nothing is printed that names it. Exit status 1 if
    a line says Vulnerable, the nearest form of VM-Enter breaks its promise there, or the answer rests on what was
    not told; 2 if no flaw was told at all.
    """
    from vmenter.hosts import explain_text, unwrapping, verdict  # noqa: PLC0415
    from vmenter.hosts.explain import explain  # noqa: PLC0415
    from vmenter.hosts.report import ABOUT_HOW, HOW, parse, read_machine  # noqa: PLC0415

    if how:
        if source is not None:
            raise LabError("--how prints a line and reads nothing; leave --from out")
        _print(_json({"line": HOW, "about": ABOUT_HOW}) if as_json else [HOW])
        if not as_json:
            print(ABOUT_HOW, file=sys.stderr)  # so that the line alone can be piped or copied
        return 0
    if source is None:
        report = read_machine()
    else:
        data = _standard_input() if source == "-" else read(source, MAX_REPORT, "report of a machine")
        report = parse(unwrapping.decode(data))
    found = explain(report)
    _print(_json(explain_text.to_json(found)) if as_json else explain_text.text_lines(found))
    if found.outcome.status == verdict.CANNOT_TELL:
        reason = f"cannot tell: {found.outcome.reasons[0]}; `vmenter host --how` prints the line that asks for all"
        print("vmenter:", reason, file=sys.stderr)
    return found.outcome.status


@commands.command()
@click.argument("paths", metavar="[FILE|DIR|PACKAGE]...", nargs=-1)
@click.option(
    "--fail-on",
    type=click.Choice(["form", "hole"]),
    default="form",
    show_default=True,
    help="Exit with 1 where the 6.19 form is lacking, or where hosts' VM-Enters get no clear.",
)
@JSON
def inspect(paths: tuple[str, ...], *, fail_on: str, as_json: bool) -> int:
    """Tell what real kernels do right before VM-Enter: exit status 1 without the 6.19 form.

    Reads kvm-intel.ko and kvm-amd.ko, packed or not, in folders and packages (.deb, .rpm) too; without an argument
    those of the kernels installed here. What cannot be told counts as lacking the form (status 1). A path in which
    no module can be read, or a damaged package, is bad input (status 2), after all others were told.
    """
    from vmenter.kernels import holes, inspect_text  # noqa: PLC0415
    from vmenter.kernels.find import find  # noqa: PLC0415
    from vmenter.kernels.inspect import Report, of_kernels  # noqa: PLC0415
    from vmenter.kernels.packages import MODULES  # noqa: PLC0415

    reports: list[Report] = []
    errors: list[LabError] = []
    for path in paths or (None,):
        try:
            reports += of_kernels(find(path, MODULES, errors))
        except LabError as error:
            errors.append(error)
    found = {id(report): holes.of_inspected(report) for report in reports}
    if reports:
        told = [inspect_text.to_json(report, found[id(report)]) for report in reports] if as_json else []
        _print(_json({"kernels": told}) if as_json else inspect_text.lines(reports, found))
    if errors:
        raise LabError("; ".join(map(str, errors)))
    if fail_on == "hole":
        return int(any(one.is_finding for one in found.values()))
    return int(not all(report.has_form for report in reports))


def _json(data: Any) -> list[str]:
    """Return JSON's lines; what is not printable in them is written as JSON writes it."""
    return json.dumps(data, indent=1).replace("\x7f", "\\u007f").split("\n")


def _print(lines: Iterable[Any]) -> None:
    """Print lines, fit for a terminal; a reader that has had enough (head, say) is no error."""
    try:
        for line in lines:
            print(visible(str(line)))
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if not isinstance(error, BrokenPipeError):
            raise LabError(f"standard output cannot be written: {error.strerror or error}") from None


def _drop_output() -> None:
    """Let what is still to be printed go nowhere, so that Python does not stumble over it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read(MAX_REPORT + 1)
    if len(data) > MAX_REPORT:
        raise LabError(f"standard input: more than {MAX_REPORT:,} bytes; no report of a machine is that long")
    return data


def _progress(items: Sequence[Any], what: str) -> Iterator[Any]:
    """Pass items on; at a terminal, say on standard error how far that is while it takes long."""
    if sys.stdout.isatty() or len(items) < 1000:  # text scrolling by is progress enough
        yield from items
        return
    with _bar() as bar:
        for number, item in enumerate(items):
            if bar:
                bar(what, number, len(items))
            yield item


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a function that says in one line how far something is, or None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    last = ""

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        line = f"{visible(what)} {100 * done // max(1, total)} %"
        if line != last:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
            last = line

    try:
        yield show
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
