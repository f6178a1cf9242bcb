"""A `vmenter enter` line is read as the command reads it."""

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError, cli
from vmenter.boot.host import Host
from vmenter.story import enter_line, history
from vmenter.story.enter_line import read_line
from vmenter.story.entry_text import to_json
from vmenter.story.history import ERAS
from vmenter.story.promise import Reach, VCpuState
from vmenter.story.replay import replay

VCPUS = st.builds(VCpuState, st.sampled_from(Reach), st.booleans(), st.booleans(), st.booleans())
HOSTS = st.builds(
    Host,
    st.sampled_from([(), ("mds",), ("mds", "l1tf")]),
    st.sampled_from([(), ("md_clear",), ("md_clear", "flush_l1d")]),
    st.sampled_from(["", "mds=off", "kvm-intel.vmentry_l1d_flush=always mds=full"]),
)


@given(st.sampled_from(sorted(ERAS)), HOSTS, VCPUS)
def test_a_replay_line_reads_back_as_what_it_was_made_of(era, host, vcpu):
    line = read_line(replay(history.era(era), host, vcpu))
    assert line.era is not None
    assert (line.era.id, line.host, line.vcpu) == (era, host, vcpu)


@pytest.mark.parametrize(
    "words",
    [
        ["--era", "43fb862de8f6", "--bugs", "mmio_stale_data", "--microcode=mds_no,fb_clear", "--mmio=mapped"],
        ["--era", "650b68a0622f", "--bugs", "mds,l1tf", "--bugs", "taa", "--microcode", "rtm, md_clear"],
        ["--era", "v4", "--mmio", "--resume", "--same-cr2", "--same-host-rsp", "--flush-pending"],
    ],
)
def test_a_line_is_read_as_the_command_reads_it(words, run):
    told = json.loads(run("enter", *words, "--json")[1])
    quoted = " ".join(f"'{word}'" for word in words)
    assert json.loads(json.dumps(to_json(read_line(f"$ vmenter enter {quoted}").enter()))) == told


def test_a_line_may_be_broken_and_stand_behind_a_prompt_and_need_name_no_era():
    line = read_line("$ vmenter enter --bugs mds \\\n    --resume \\\n")
    assert line == (None, Host(("mds",)), VCpuState(resume=True))
    assert line.enter("v4").era.id == "v4"
    with pytest.raises(LabError, match="names no era"):
        line.enter()


@pytest.mark.parametrize("comment", ["  # mine", " # that's it", " #one --era nothing"])
def test_a_comment_is_passed_over_as_a_shell_does(comment):
    line = "vmenter enter --era v4 --bugs mds --microcode md_clear"
    assert read_line(line + comment) == read_line(line)


def test_a_hash_within_a_word_or_in_quotation_marks_begins_no_comment():
    assert read_line("vmenter enter --cmdline 'mds=off #x' --resume").host.cmdline == "mds=off #x"
    assert read_line("vmenter enter --cmdline a#b --resume").host.cmdline == "a#b"


def test_it_has_the_options_of_the_command():
    own = {name for action in enter_line._parser()._actions for name in action.option_strings}
    options = (one for one in cli.commands.commands["enter"].params if isinstance(one, click.Option))
    assert own == {name for option in options for name in option.opts} - {"-h", "--help"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begin with"),
        (None, "text is needed .* a NoneType"),
        (b"vmenter enter", "this is a bytes"),
        ("a\nb", "one line of text"),
        ("vmenter select --bugs mds", "begin with"),
        ("enter --bugs mds", "begin with"),
        ("vmenter enter --mm mapped", "unrecognized arguments: --mm"),
        ("vmenter enter --bugs", "expected one argument"),
        ("vmenter enter --help", "unrecognized arguments: --help"),
        ("vmenter enter --era v9", "unknown name 'v9'"),
        ("vmenter enter --era v4 --mmio often", "invalid choice"),
        ("vmenter enter --era v4 --bugs 'mds", "no shell would read it: No closing quotation"),
        ("vmenter enter --era v4 --bogus", "unrecognized arguments"),
        ("vmenter enter --era v4 --bugs nonesuch", "nonesuch"),
        ("x" * 3000, "2,000 are enough"),
    ],
)
def test_what_is_no_line_is_one_clear_error(text, words):
    with pytest.raises(LabError, match=words):
        read_line(text)
