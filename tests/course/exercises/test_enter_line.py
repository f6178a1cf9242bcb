"""A line `vmenter enter …` as an answer is read as the command reads it."""

import json
import shlex

import click
import pytest

from vmenter import LabError, cli
from vmenter.course.exercises import enter_line
from vmenter.story.entry_text import to_json

LINES = (
    "vmenter enter",
    "vmenter enter --bugs mds,l1tf --microcode md_clear,flush_l1d",
    "vmenter enter --bugs mds --bugs 'l1tf, rfds' --microcode=rfds_clear --cmdline 'quiet l1tf=off' --resume",
    "vmenter enter --bugs mmio_stale_data --microcode fb_clear,fb_clear_ctrl --mmio mapped --flush-pending",
    "vmenter enter --bugs mmio_stale_data --mmio assigned --guest-fb-clear --same-host-rsp --same-cr2 --json",
)


def test_it_has_the_options_of_the_command():
    own = {name for action in enter_line._options()._actions for name in action.option_strings}
    command = {
        name
        for option in cli.commands.commands["enter"].params
        if isinstance(option, click.Option)
        for name in option.opts
    }
    assert own == command - {"-h", "--help"}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("era", ["43fb862de8f6", "e6ff1d61de51"])
def test_it_enters_as_the_command_does(line, era, capsys):
    words = shlex.split(line)[2:]
    with pytest.raises(SystemExit):
        cli.main(["enter", "--era", era, *[word for word in words if word != "--json"], "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(to_json(enter_line.read(line).enter(era))))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("vmenter enter --mm mapped", "unrecognized arguments: --mm"),
        ("vmenter enter --bugs", "expected one argument"),
        ("vmenter enter --help", "unrecognized arguments: --help"),
        ("vmenter enter 'mds", "no shell would read this line"),
        ("enter --bugs mds", "should begin with vmenter enter"),
        (b"vmenter enter", "it is a bytes"),
        ("vmenter enter " + "x" * 2000, "2,000 are enough"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_clear_error(line, reason):
    with pytest.raises(LabError, match=reason):
        enter_line.read(line)
