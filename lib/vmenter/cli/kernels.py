"""Real kernels: `sites`, `fetch`, `inspect`."""

from typing import Any

import click

from vmenter import LabError
from vmenter.cli.shared import FILE, JSON, json_lines, progress, progress_bar, show
from vmenter.code.files import read

MAX_TEXT = 64 << 20  # bytes; a System.map has some 10 MB


@click.command()
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
    from vmenter.patching import alternative_table, alternatives, features, other_patchers  # noqa: PLC0415
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
    chosen = alternative_table.Engine(engine) if engine else None
    try:
        how, entries, found = alternative_table.read(image, engine=chosen, nops=nops)
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
    patches = (alternatives.patch(image, site, present, how) for site in progress(found, "patching"))
    write = to_json if as_json else to_text
    result = write(image, how, len(entries), patches)
    show(json_lines(result) if as_json else result)
    return 0


@click.command()
@click.argument("package", metavar="[PACKAGE|newest]", default="newest")
@click.option("--suite", metavar="NAME", help="Another suite of this machine's mirror, such as sid.")
@click.option("--list", "as_list", is_flag=True, help="Only print the kernel packages there are.")
def fetch(package: str, suite: str | None, *, as_list: bool) -> int:
    """Fetch a kernel's package through apt, and print the folder with its KVM modules and vmlinuz.

    PACKAGE is a name such as linux-image-amd64, or NAME=VERSION. What was fetched once needs no network again.
    """
    from vmenter.kernels.fetch import available, fetch  # noqa: PLC0415

    with progress_bar() as bar:
        if as_list:
            found: list[Any] = list(available(suite, bar))
        else:
            found = [fetch(None if package == "newest" else package, suite, bar)]
    show(found)
    return 0


@click.command()
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
        show(json_lines({"kernels": told}) if as_json else inspect_text.lines(reports, found))
    if errors:
        raise LabError("; ".join(map(str, errors)))
    if fail_on == "hole":
        return int(any(one.is_finding for one in found.values()))
    return int(not all(report.has_form for report in reports))
