"""AMD's side of a report: TSA by the model, and what VMRUN does."""

from itertools import product

import pytest

from vmenter.boot import tsa
from vmenter.boot.tsa import AmdHost
from vmenter.hosts.amd import generation, tsa_of
from vmenter.hosts.explain import explain
from vmenter.hosts.explain_text import text_lines
from vmenter.hosts.report import parse

CPU = "vendor_id: AuthenticAMD\ncpu family: {}\nmodel: {}\n"


@pytest.mark.parametrize(
    ("family", "model", "zen"),
    [
        (23, 1, 1),
        (23, 49, 2),
        (25, 1, 3),
        (25, 33, 3),
        (25, 17, 4),
        (25, 97, 4),
        (26, 36, 5),
        (21, 2, None),
        (24, 0, None),
    ],
)
def test_a_generation_is_told_by_family_and_model(family, model, zen):
    assert generation(parse(CPU.format(family, model))) == zen


def test_without_family_and_model_no_generation_is_told():
    assert generation(parse("vendor_id: AuthenticAMD")) is None


SEEN = {
    (kernel, tsa.select(AmdHost(zen, facts, cmdline), kernel).sysfs): (zen, cmdline)
    for kernel, zen, facts, cmdline in product(
        tsa.KERNELS, (3, 4), ((), ("verw_clear",)), ("", "tsa=off", "tsa=user", "tsa=vm", "mitigations=off")
    )
}


@pytest.mark.parametrize(("kernel", "text"), SEEN)
def test_what_a_kernel_prints_the_model_prints_of_the_inferred_host(kernel, text):
    zen, cmdline = SEEN[kernel, text]
    model = {3: 1, 4: 17}[zen]
    report = parse(f"{CPU.format(25, model)}osrelease: {kernel}\n/proc/cmdline:{cmdline}\ntsa: {text}")
    found = tsa_of(report)
    assert (found.line, found.agrees, found.selection.kernel) == (text, True, kernel)
    clears = "CLEAR_CPU_BUF_VM" in found.selection.features
    assert [entry.verdict.verw > 0 for entry in found.entries] == [clears, clears]
    assert all(entry.verdict.kept for entry in found.entries)


@pytest.mark.parametrize("text", ["Vulnerable", "Mitigation: Clear CPU buffers: VM", "Vulnerable: No microcode"])
def test_boot_options_that_were_not_told_are_tried_too(text):
    assert tsa_of(parse(f"vendor_id: AuthenticAMD\ntsa: {text}")).agrees


def test_the_microcode_follows_from_the_line():
    assert tsa_of(parse(CPU.format(25, 1) + "tsa: Mitigation: Clear CPU buffers")).decided == ("verw_clear",)
    assert tsa_of(parse(CPU.format(25, 1) + "tsa: Vulnerable: No microcode")).decided == ()


def test_a_line_that_the_model_cannot_have_differs_and_runs_nothing():
    # A Zen 2 has no TSA, and a kernel on bare metal knows.
    found = explain(parse(CPU.format(23, 49) + "osrelease: 6.12.117\ntsa: Mitigation: Clear CPU buffers"))
    assert (found.tsa.agrees, found.tsa.entries) == (False, ())
    assert found.outcome.status == 1
    assert "The model DISAGREES" in "\n".join(text_lines(found))


def test_a_clear_without_microcode_is_said_to_clear_nothing():
    guest = "flags: fpu vme de pse svm hypervisor\nosrelease: 6.12.117\n"
    text = "tsa: Vulnerable: Clear CPU buffers attempted, no microcode"
    said = "\n".join(text_lines(explain(parse(CPU.format(25, 1) + guest + text))))
    assert "VERW runs, then 0 instructions, then VMRUN" in said
    assert "No microcode says that this VERW clears anything." in said
