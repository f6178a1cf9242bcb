"""What a machine says of itself: `host`."""

import sys

import click

from vmenter import LabError
from vmenter.cli.shared import JSON, json_lines, show, standard_input
from vmenter.code.files import read

MAX_REPORT = 16 << 20  # bytes of what a machine says of itself; a journal of one boot has some 5 MB


@click.command()
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
        show(json_lines({"line": HOW, "about": ABOUT_HOW}) if as_json else [HOW])
        if not as_json:
            print(ABOUT_HOW, file=sys.stderr)  # so that the line alone can be piped or copied
        return 0
    if source is None:
        report = read_machine()
    else:
        data = (
            standard_input(MAX_REPORT, "report of a machine")
            if source == "-"
            else read(source, MAX_REPORT, "report of a machine")
        )
        report = parse(unwrapping.decode(data))
    found = explain(report)
    show(json_lines(explain_text.to_json(found)) if as_json else explain_text.text_lines(found))
    if found.outcome.status == verdict.CANNOT_TELL:
        reason = f"cannot tell: {found.outcome.reasons[0]}; `vmenter host --how` prints the line that asks for all"
        print("vmenter:", reason, file=sys.stderr)
    return found.outcome.status
