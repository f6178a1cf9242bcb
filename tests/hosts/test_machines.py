"""More than one machine, or moment, in one paste: seen, and never taken for one that is fine."""

import pytest

from vmenter.hosts.explain import explain
from vmenter.hosts.machines import of_lines, of_values
from vmenter.hosts.report import parse

FLAWS = ("l1tf", "mds", "mmio_stale_data", "reg_file_data_sampling", "tsx_async_abort")
ALL = "".join(f"{file}: Not affected\n" for file in FLAWS)


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        (["root@a:~# cat mds", "root@b:~# cat mds"], 1),
        (["[root@a ~]# lscpu", "[root@b ~]# lscpu"], 1),
        (["me@a ~ % grep . mds", "me@b ~ % grep . mds"], 1),
        (["root@a:~# cat mds", "you@a:/tmp$ cat l1tf"], 0),  # one machine, two users
        (["me@laptop:~$ ssh root@kvm cat mds", "root@kvm:~# cat l1tf"], 0),  # asked of one from another
        (["me@laptop:~$ cd /tmp", "root@kvm:~# cat l1tf"], 0),
        (
            [
                "a: /sys/devices/system/cpu/vulnerabilities/mds:x",
                "b: /sys/devices/system/cpu/vulnerabilities/mds:x",
            ],
            1,
        ),
        (["grep: /proc/cpuinfo: no", "cat: /proc/version: no"], 0),
        (["kvm1 | CHANGED | rc=0 >>", "kvm2 | CHANGED | rc=0 >>"], 1),
        (["ok: [kvm1] => {", "ok: [kvm2] => {"], 1),
        (["Jan 18 19:37:15 a kernel: x", "Jan 18 19:37:15 b kernel: x"], 1),
        (["Jan 18 19:37:15 localhost kernel: x", "Jan 18 19:37:15 b kernel: x"], 0),  # before it knew its name
        (["2024-01-18T19:37:15+0100 a kernel: x", "2024-01-18T19:37:15+0100 a.example kernel: x"], 0),
    ],
)
def test_names_of_two_machines_are_seen(lines, kinds):
    assert len(of_lines(lines)) == kinds


@pytest.mark.parametrize(
    ("values", "many"),
    [
        ({"vendor_id": ["GenuineIntel", "GenuineIntel"]}, False),
        ({"vendor_id": ["GenuineIntel", "AuthenticAMD"]}, True),
        ({"flags": ["fpu vmx", "fpu svm"]}, True),
        ({"flags": ["fpu vmx", "fpu"]}, False),  # cores of two kinds
        ({"virtualization": ["VT-x", "AMD-V"]}, True),
        ({"model name": ["Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "Intel Core i7-8550U"]}, False),
        (
            {"model name": ["Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "13th Gen Intel(R) Core(TM) i5-1340P"]},
            True,
        ),
        ({"model name": ["Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz"]}, False),
        ({"osrelease": ["6.1.0-18-amd64", "6.1.0-18-amd64 (SMP"]}, False),
        ({"osrelease": ["6.1.0-18-amd64", "6.5.0-14-generic"]}, True),
        ({"arch": ["aarch64"]}, False),
        ({"arch": ["aarch64"], "x86": ["x86_64"]}, True),
    ],
)
def test_values_that_one_machine_has_once_are_compared(values, many):
    assert bool(list(of_values(values))) is many


def test_what_is_told_of_two_machines_is_never_fine():
    one = explain(parse(f"vendor_id : GenuineIntel\n6.12.5-amd64\n{ALL}"))
    two = explain(parse(f"vendor_id : GenuineIntel\n6.12.5-amd64\n{ALL}Linux version 6.1.0-1-amd64\n"))
    assert (one.outcome.status, two.outcome.status) == (0, 1)
    assert "More than one machine or moment" in two.outcome.reasons[0]
    assert two.outcome.kept is None


@pytest.mark.parametrize(
    "text",
    [
        "vendor_id : AuthenticAMD\nbugs : spectre_v1 mds\ntsa: Not affected\n",
        f"vendor_id : GenuineIntel\ntsa: Vulnerable: No microcode\n{ALL}",
        f"vendor_id : GenuineIntel\nflags : fpu svm\n{ALL}tsa: Not affected\n",
    ],
)
def test_lines_that_contradict_each_other_are_never_fine(text):
    assert explain(parse(text)).outcome.status == 1


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("mds: Vulnerable: Clear CPU buffers attempted, no mi\n", 1),  # cut off, and yet
        ("mds: Vulnerable, says somebody\n", 1),
        ("mds: Vulnerable; SMT vulnerable\nmds: Not affected\n", 1),
        ("mds: Not affected\n", 0),
    ],
)
def test_a_text_that_calls_a_flaw_open_is_heard_even_where_no_guest_is_entered(text, status):
    assert (
        explain(parse(f"itlb_multihit: KVM: Mitigation: VMX disabled\n{text}l1tf: Not affected\n")).outcome.status
        == status
    )


def test_objects_of_json_are_counted_if_they_name_files():
    halves = '{"a": {"mds": "Not affected"}, "b": {"l1tf": "Not affected"}, "c": {"other": "Not affected"}}'
    for text in (halves, f"a word\n{halves}\nand a [remark] behind", halves.replace('}, "b"', '}}\n{"b"')):
        assert parse(text).mixed == ("2 objects of JSON that name files",)
    assert parse('{"a": {"mds": "Not affected", "l1tf": "Not affected"}, "b": {"c": "d"}}').mixed == ()
