"""`vmenter select` and `vmenter enter` as a user meets them."""

import io
import json
import subprocess
import sys

import pytest

from vmenter.story.history import ERAS

SKYLAKE = ("--bugs", "mds,taa,l1tf,mmio_stale_data", "--microcode", "rtm, md_clear,flush_l1d")


@pytest.fixture
def feed(monkeypatch):
    """Give text or bytes to standard input."""

    def feed(data):
        data = data if isinstance(data, bytes) else data.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return feed


# --- enter -------------------------------------------------------------------------------------------------------

ENTER_KEYS = [
    "era", "features", "keys", "l1d_flush", "sysfs", "vm_enter", "events", "verw", "l1d_flushed",
    "instructions_after_clear", "accesses_after_clear", "promise", "kept", "neutralised",
]  # fmt: skip


@pytest.mark.parametrize("era", ERAS)
def test_enter_without_options_enters_by_vmlaunch_and_owes_nothing(run, era):
    status, out, err = run("enter", "--era", era, "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert list(found) == ENTER_KEYS
    assert [event["kind"] for event in found["events"]] == ["vm_enter"]
    assert {key: found[key] for key in ENTER_KEYS if key not in ("sysfs", "events")} == {
        "era": era,
        "features": [],
        "keys": [],
        "l1d_flush": "not required",
        "vm_enter": "VMLAUNCH",
        "verw": 0,
        "l1d_flushed": False,
        "instructions_after_clear": None,
        "accesses_after_clear": None,
        "promise": "nothing",
        "kept": True,
        "neutralised": False,
    }


def test_enter_ends_with_1_where_the_promise_is_broken(run):
    status, out, err = run("enter", "--era", "650b68a0622f", *SKYLAKE)
    assert (status, err) == (1, "")
    assert "Verdict: BROKEN: a clear owed here; nothing cleared" in out
    status, out, _ = run("enter", "--era", "650b68a0622f", *SKYLAKE, "--json")
    assert (status, json.loads(out)["kept"]) == (1, False)


def test_enter_takes_the_vcpu_from_its_options(run):
    status, out, _ = run("enter", "--era", "650b68a0622f", *SKYLAKE, "--flush-pending", "--resume", "--json")
    found = json.loads(out)
    assert (status, found["vm_enter"], found["l1d_flushed"]) == (0, "VMRESUME", True)
    assert [event["kind"] for event in found["events"]] == ["l1d_flush", "vm_enter"]
    assert [event["symbol"].split("+")[0] for event in found["events"]] == ["vmx_l1d_flush", "vmx_vmenter"]
    assert all(int(event["address"], 16) >> 30 == 0x3_FFFF_FFFF for event in found["events"])


CONTROLLED = ("--bugs", "mmio_stale_data", "--microcode", "fb_clear,mds_no,fb_clear_ctrl")


@pytest.mark.parametrize(
    ("era", "options", "status", "verw", "neutralised"),
    [
        ("e6ff1d61de51", [], 0, 0, False),
        ("e6ff1d61de51", ["--mmio"], 0, 1, True),
        ("e6ff1d61de51", ["--mmio=mapped"], 0, 1, True),
        ("e6ff1d61de51", ["--mmio=mapped", "--guest-fb-clear"], 0, 1, False),
        ("43fb862de8f6", ["--mmio", "--resume"], 0, 1, False),
        ("43fb862de8f6", ["--mmio=assigned"], 0, 1, False),
        ("43fb862de8f6", ["--mmio=mapped"], 1, 0, False),
        ("43fb862de8f6-backport", ["--mmio=mapped"], 1, 0, False),
        ("650b68a0622f", ["--mmio=mapped"], 0, 0, False),
    ],
)
def test_enter_knows_three_ways_to_reach_mmio(run, era, options, status, verw, neutralised):
    found, out, _ = run("enter", "--era", era, *CONTROLLED, *options, "--json")
    assert (found, json.loads(out)["verw"], json.loads(out)["neutralised"]) == (status, verw, neutralised)


def test_what_a_kernel_does_not_know_yet_has_no_effect(run):
    plain = run("enter", "--era", "before-mds", "--json")
    assert run("enter", "--era", "before-mds", *CONTROLLED, "--cmdline", "mds=full", "--mmio", "--json") == plain


def test_the_command_line_is_read_as_the_kernel_reads_it(run):
    _, out, _ = run("enter", "--era", "v4", *SKYLAKE, "--cmdline", "kvm-intel.vmentry_l1d_flush=always", "--json")
    found = json.loads(out)
    assert (found["l1d_flush"], found["l1d_flushed"]) == ("always", True)


# --- select ------------------------------------------------------------------------------------------------------


def test_select_shows_the_reasons_the_files_and_the_switches(run):
    status, out, err = run("select", "--era", "8cb861e9e3c9", *SKYLAKE, "--cmdline", "mds=off")
    assert (status, err) == (0, "")
    for part in (
        "selection of kernel 5.19",
        "mds=off",
        "on after all",
        "mds_user_clear",
        "PTE Inversion; VMX: cond",
    ):
        assert part in out


def test_select_as_json_carries_the_reasons_too(run):
    status, out, _ = run("select", "--era", "8cb861e9e3c9", *SKYLAKE, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["keys"] == ["mds_idle_clear", "mds_user_clear"]
    assert found["kvm_keys"] == ["vmx_l1d_flush_cond", "vmx_l1d_should_flush"]
    assert (found["era"], found["kernel"], found["l1d_flush"]) == ("8cb861e9e3c9", "5.19", "cond")
    assert set(found["why"][0]) == {"subject", "outcome", "reason"}
    assert set(found) - {"era", "kernel", "kvm_keys", "l1d_flush", "lines", "why"} == LINE_KEYS


def test_enter_as_json_is_the_kernel_with_kvm_loaded_as_its_text_is(run):
    words = ["enter", "--era", "650b68a0622f", "--bugs", "mds,l1tf", "--microcode", "md_clear,flush_l1d"]
    _, text, _ = run(*words)
    found = json.loads(run(*words, "--json")[1])
    assert found["keys"] == ["mds_user_clear", "vmx_l1d_flush_cond", "vmx_l1d_should_flush"]
    assert found["sysfs"]["l1tf"] == "Mitigation: PTE Inversion; VMX: conditional cache flushes"
    for part in (*found["keys"], found["sysfs"]["l1tf"]):
        assert part in text


def test_enter_with_rsp_and_cr2_as_they_were_runs_fewer_instructions(run):
    words = ["enter", "--era", "650b68a0622f", "--bugs", "mds", "--microcode", "md_clear", "--json"]
    far = [
        json.loads(run(*words, *more)[1])["instructions_after_clear"]
        for more in ((), ("--same-host-rsp",), ("--same-cr2",), ("--same-host-rsp", "--same-cr2"))
    ]
    assert far == [46, 43, 45, 42]
    assert "host RSP" in run(*words[:-1], "--same-host-rsp")[1]


LINE_KEYS = {"features", "keys", "states", "sysfs", "nosmt"}


def test_select_answers_each_line_of_standard_input_with_one(run, feed):
    hosts = [
        {"cmdline": "mds=full,nosmt", "bugs": ["MDS"], "features": ["MD_CLEAR"], "arch_cap": []},
        {"cmdline": "", "bugs": [], "features": [], "arch_cap": ["MDS_NO"]},
    ]
    feed("\n\n".join(map(json.dumps, hosts)))
    status, out, err = run("select", "--era", "e6ff1d61de51", "--stdin")
    assert (status, err) == (0, "")
    first, second = map(json.loads, out.splitlines())
    assert set(first) == LINE_KEYS
    assert set(first["sysfs"]) == {"mds", "taa", "mmio", "rfds", "l1tf"} == set(first["states"])
    assert (first["features"], first["nosmt"]) == (["CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"], True)
    assert (second["features"], second["nosmt"]) == ([], False)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["enter"], "Missing option '--era'"),
        (
            ["enter", "--era", "650b"],
            "era: unknown name '650b', did you mean 650b68a0622f; use one of: before-mds",
        ),
        (
            ["enter", "--era", "v4", "--bugs", "mds,l1ft"],
            "bugs: unknown name 'l1ft', did you mean l1tf; use some of",
        ),
        (["enter", "--era", "v4", "--microcode", "mdclear"], "unknown name 'mdclear', did you mean md_clear; use"),
        (["enter", "--era", "v4", "--mmio=yes"], "'yes' is not one of 'none', 'assigned', 'mapped'"),
        (["select", "--era", "v4", "--bugs", "x"], "bugs: unknown name 'x'; use some of: mds"),
        (["select", "--era", "v4", "--stdin", "--bugs", "mds"], "--stdin brings the hosts; leave --bugs"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ("[]", "line 2: host: a JSON object is needed, this is a list"),
        ('{"bugs": ["mdx"]}', "line 2: bugs: unknown name 'mdx', did you mean mds"),
        ("[" * 100_000, "line 2: no JSON"),
        ('{"ram_mib": ' + "1" * 5000 + "}", "line 2: no JSON"),
        (b"\xff", "line 2: no JSON"),
    ],
)
def test_a_bad_line_of_standard_input_is_named(run, feed, line, message):
    feed(b"{}\n" + (line if isinstance(line, bytes) else line.encode()))
    status, out, err = run("select", "--era", "v4", "--stdin")
    assert (status, out.count("\n"), err.count("\n")) == (2, 1, 1)
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "status"),
    [
        (["enter", "--era", "e6ff1d61de51", *SKYLAKE, "--mmio", "--resume"], "", 0),
        (["enter", "--era", "8cb861e9e3c9", *SKYLAKE], "", 1),
        (["enter", "--era", "nothing"], "", 2),
        (["select", "--era", "e6ff1d61de51", "--stdin"], "{}\n", 0),
    ],
)
def test_both_work_as_a_program(arguments, stdin, status):
    done = subprocess.run(
        [sys.executable, "-m", "vmenter", *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert bool(done.stdout) == (status != 2)
    assert (done.stderr.count("\n"), "Traceback" in done.stderr) == (int(status == 2), False)
