"""Notebook 08's exercises and the audit that judges them: what it finds, what it says, and what it lets a learner use.

The table of wrong answers, wrong_08, is gone through with those of the other notebooks, in test_exercises.
"""

import re
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from answers import cell, judged, tried
from fuzz import EVERYTHING
from work import emulated
from wrong_08 import CUCKOO, LOADS, NEWCOMER, VM, WRONG, altered, edge

from vmenter import LabError
from vmenter.boot.selection import select
from vmenter.course.exercises import check, exercise, nb08, own_era
from vmenter.course.judging.audited import INSTRUCTIONS, audited, keeps_the_promise
from vmenter.patching import features
from vmenter.patching.lab import LAB
from vmenter.story import eras
from vmenter.story.audit import audit
from vmenter.story.history import ERAS
from vmenter.story.promise import Promise, Reach, VCpuState, Verw, judge, promise_of
from vmenter.story.space import DEFAULT

# --- 08-1 -------------------------------------------------------------------------------------------------------


def test_the_promise_is_asked_about_everything():
    inputs = nb08.every_input()
    assert len(inputs) == len(set(inputs)) == 240
    assert inputs[0] == ("never", "not required", False, False, False, False)
    assert "240" in exercise("08-1").task
    assert "240" in exercise("08-1").praise
    assert 0 < sum(nb08.verdict(values).kept for values in inputs) < 240


def test_the_promise_does_not_depend_on_what_the_function_is_not_told():
    for values in nb08.every_input():
        verw, mode, mmio, pending, *ran = values
        trace = nb08._trace(verw=ran[0], flushed=ran[1])
        assert (trace.verw, trace.l1d_flushed) == tuple(ran)
        verdicts = {
            judge(Promise(Verw(verw), mode), VCpuState(reach, pending, resume), trace).kept
            for reach in ((Reach.ASSIGNED, Reach.MAPPED) if mmio else (Reach.NONE,))
            for resume in (False, True)
        }
        assert verdicts == {nb08.verdict(values).kept}


# --- 08-2 -------------------------------------------------------------------------------------------------------


def test_the_figures_in_the_texts_are_the_audits():
    found = audit("83ebe7157483")
    assert f"{found.broken.count:,}" in exercise("08-2").task
    for text in (exercise("08-2").task, exercise("08-2").praise):
        assert f"{DEFAULT.configurations:,}" in text
    for text in (exercise("08-3").task, exercise("08-3").praise):
        assert f"{nb08.SPACE.configurations:,}" in text
    assert nb08.SPACE.configurations == 3 * DEFAULT.configurations


def test_the_starter_of_08_2_is_the_code_as_it_is():
    lines = [line for line in (LAB / "83ebe7157483.S").read_text().splitlines() if "# if (" not in line]
    body = "\n".join(lines).split("    enter_exit_begin\n")[1].split("end_function vmx_vcpu_enter_exit")[0]
    assert cell(exercise("08-2").starter).strip() == body.strip()


# --- 08-3 -------------------------------------------------------------------------------------------------------


def test_the_number_of_the_invented_feature_is_free():
    number = features.number(nb08.CUCKOO)
    word, bit = divmod(number, 32)
    assert not [row for row in features._table()[1] if (row.word, row.bit) == (word, bit)]
    assert word < features.word_counts("7.3.4")[0]
    assert f"{nb08.CUCKOO}" in exercise("08-3").task
    assert "invented" in exercise("08-3").task
    assert "invented" in nb08.CUCKOO_SELECTS


@cache
def all_cases():
    return nb08.cases(replace(own_era("08-3", cell(exercise("08-3").solution)), code=None))


def test_the_cases_with_the_new_flaw_are_all_configurations():
    assert sum(tally.number for tally in all_cases().values()) == nb08.SPACE.configurations


def test_random_configurations_with_the_new_flaw_are_counted_where_they_belong():
    era, random, space = own_era("08-3", cell(exercise("08-3").solution)), Random(8), nb08.SPACE
    seen = set()
    for _ in range(3000):
        values = space.configuration(random.randrange(space.configurations))
        host, vcpu = space.machine(tuple(enumerate(values)))
        selection = select(host, era.kernel)
        promise, state = promise_of(selection), eras.state_of(era, host, selection, vcpu)
        cuckoo = space.dimensions[-1].values[values[-1]].label
        if cuckoo == nb08.FIRST:
            state = replace(state, features=state.features | {nb08.CUCKOO})
        if cuckoo == nb08.EVERY:
            state = replace(state, features=state.features | {"CLEAR_CPU_BUF_VM"})
        if cuckoo == nb08.EVERY or (cuckoo == nb08.FIRST and not vcpu.resume):
            promise = replace(promise, verw=Verw.ALWAYS)
        tally = all_cases()[state, promise]
        assert set(enumerate(values)) <= tally.seen
        seen.add((cuckoo, vcpu.resume, promise.verw))
    assert len(seen) == 3 * 2 * 3 - 2 - 4  # Cuckoo leaves no “never” or “mmio” where it asks


# --- what an audit says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS.values(), ids=ERAS)
def test_the_exercises_audit_finds_what_the_audit_finds(era):
    own = replace(era, code=era.object)
    found, expected = audited("08-2", own, [keeps_the_promise]), audit(era).broken
    assert (found is None) == (expected is None)
    if found:
        assert str(found).startswith(f"{expected.count:,} of {DEFAULT.configurations:,} configurations go wrong. ")
        settings = ", ".join(f"{name} {value}" for name, value in expected.settings.items())
        assert f"{expected.tally.settings} settings away from the default machine: {settings}.\n" in str(found)
        verdict = eras.enter(era, *expected.machine).verdict
        assert f"What is wrong: {verdict.reason}. The promise here: {verdict.promise}\n" in str(found)
        assert found.trace.steps == eras.enter(own, *expected.machine).trace.steps


MESSAGES = [(id_, answer) for id_ in ("08-2", "08-3") for answer, _ in tried(id_, WRONG[id_])]


@pytest.mark.parametrize(("id_", "answer"), MESSAGES)
def test_a_message_can_be_read_and_what_it_offers_can_be_pasted(id_, answer):
    from vmenter.views.entry.widget import EntryExplorer

    feedback = judged(id_, answer)
    lines = feedback.message.splitlines()
    assert len(lines) <= 20
    assert not re.search(r"0x1000\w{4}", feedback.message)  # addresses mean nothing to a reader; labels do
    names = {"EntryExplorer": EntryExplorer, "own_era": own_era, "check": check, "answer": answer, "print": str}
    offers = {
        line.partition(": ")[0]: line.partition(": ")[2] for line in lines if line.startswith(("All", "In c"))
    }
    assert bool(offers) == (feedback.trace is not None)
    if offers:
        shown = eval(offers["All of it"], names)
        assert shown == feedback.trace.text
        # What a host and a vCPU cannot make is not offered to be made of them.
        cannot = "Cuckoo (invented)" in lines[0] or "whatever it meets" in lines[0]
        assert ("In colour" in offers) == (not cannot)
    if "In colour" in offers and feedback.trace.vm_enter:
        text = repr(eval(offers["In colour"], names))
        owed = "What is wrong: a clear owed here; nothing cleared" in feedback.message
        assert ("BROKEN" in text) == (owed or "an L1D flush owed here" in feedback.message)


REGISTERS = ("rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)), "rax")


def test_every_register_is_looked_at():
    for name in REGISTERS if EVERYTHING else REGISTERS[::4]:
        message = check("08-3", altered("08-3", (LOADS, f"{LOADS}    movq $7, %{name}\n"))).message
        assert f"at VM-Enter, {name.upper()} does not hold the guest's value" in message


def test_no_era_can_be_made_of_a_letter():
    with pytest.raises(LabError, match="is no code"):
        own_era("05-2", "c")
    with pytest.raises(LabError, match="calls no flush"):
        own_era("08-3", cell(exercise("08-3").solution), "used one way")
    with pytest.raises(LabError, match="after_the_flush should be one of"):
        own_era("08-2", cell(exercise("08-2").solution), "used")
    for id_ in ("05-3", "06-1", "07-1", "08-2", "08-3"):
        assert own_era(id_, cell(exercise(id_).solution)).code


# --- what code may use ------------------------------------------------------------------------------------------

LONG = "    movl ${}, %ecx\n1:  decl %ecx\n    jnz 1b\n"
ABUSE = [
    (LONG.format(7000), "the audit was stopped after "),
    (
        "1:  jmp 1b\n",
        "default machine itself: no bugs, an empty command line, a first VM-Enter.\nWhat is wrong: the code does",
    ),
    (LONG.format(10**9), "the code does not end: after 20,000 instructions it is at __vmx_vcpu_run+0x"),
    ("    movq $-1, %rcx\n    rep stosb\n", "rep stosb"),
    ("    .rept 1000000\n    nop\n    .endr\n", "the object has 1,"),
    ("    .rept 300000000\n    nop\n    .endr\n", "has it a .rept or a macro without an end?"),
    ("    pushq %rax\n    call __vmx_vcpu_run\n", "nothing is mapped"),
    ("    ud2\n", "the code crashes. __vmx_vcpu_run+0x"),
    ("    hlt\n", "the CPU halts"),
    ("    movb $0x90, __vmx_vcpu_run(%rip)\n", "a kernel's code is read-only"),
]


@pytest.mark.parametrize(("text", "words"), ABUSE, ids=range(len(ABUSE)))
def test_code_that_loops_crashes_or_grows_is_a_message_and_soon(text, words):
    with emulated() as done:
        feedback = check("08-3", altered("08-3", (LOADS, text + LOADS)))
    assert done[0] <= INSTRUCTIONS + eras.FOREIGN.instructions
    assert not feedback.passed
    assert words in feedback.message, feedback.message


def test_a_loop_in_one_state_of_many_ends_the_audit():
    looping = altered("08-3", ("    vmresume\n", "1:  jmp 1b\n"))
    message = check("08-3", looping).message
    assert (
        "1 setting away from the default machine: entered before yes.\nWhat is wrong: the code does not end"
        in message
    )


def test_the_whole_audit_of_the_solution_uses_a_fraction_of_what_is_allowed(report):
    era = own_era("08-3", cell(exercise("08-3").solution))
    steps = sum(len(eras.run(era, state).steps) for state, _ in all_cases())
    report(f"08-3: {len(all_cases())} states with their promises, {steps:,} instructions")
    assert 3 * steps < INSTRUCTIONS


def test_two_sites_that_look_right_are_told_apart_only_by_both_features():
    two = edge(f"    ALTERNATIVE_2 clear_if_mmio, clear_if_new, {CUCKOO}, clear_cpu_buffers, {VM}\n", NEWCOMER)
    assert "4 settings away" in check("08-3", two).message
