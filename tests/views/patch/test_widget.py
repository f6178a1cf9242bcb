import json
import struct
from dataclasses import replace

import pytest
from pieces import TEXT, Alt, Place, build

from vmenter import LabError
from vmenter.code.image import Section
from vmenter.patching.alternative_table import ALWAYS, Engine, read
from vmenter.patching.alternatives import ORIGINS
from vmenter.views.patch.bench import SAMPLES, TypedError, sample, typed
from vmenter.views.patch.frame import frame, twin
from vmenter.views.patch.widget import PatchBench

VM = "CLEAR_CPU_BUF_VM"
MMIO = "CLEAR_CPU_BUF_VM_MMIO"
RETURNS = 0xF0_0000  # behind all that pieces.build lays out

TWIN = """\
three_way: Nothing, clear if the vCPU can reach MMIO, or clear always.
engine: once (from v7.0)
features on: CLEAR_CPU_BUF_VM
site: 17 bytes
entry 1  CLEAR_CPU_BUF_VM_MMIO  no match
entry 2  CLEAR_CPU_BUF_VM       matches, decides -> written
at the site: replacement 2

step 3 of 5: relocate (entry 2)
verw counts its target from the end of the instruction. To verw_selector that is -0x21 from the
replacement and 0x57 from the site. Same target, new distance.
  +0  0f 00 2d 57 00 00 00     C2 C2 C2 R2 R2 R2 R2     verw 0x57(%rip)  → verw_selector
  +7  90 90 90 90 90 90 90 90  O O O O O O O O          nop (8 times)
 +15  90 90                    O O                      nop (2 times)
 +17  c3                       -                        retq"""
FOOT = """\
Entry 2 of 2 is the only match: its 7 bytes stand at the site.
early    other bytes at +3 to +16, 1 entry written. It is broken: verw should reach verw_selector,
         but reaches 0xffffffffbffffff8, outside this code.
layered  the same bytes, 1 entry written
once     shown here: 1 entry written"""


def shown(name="three_way", features=(VM,), engine="once", **more):
    return frame({"sample": name, "features": list(features), "engine": engine, **more})


def names(made):
    return [(step["name"], step["entry"]) for step in made["steps"]]


def letters(step):
    return "".join(cell["letter"] for row in step["rows"] for cell in row["cells"])


def test_twin_says_all_that_is_shown():
    assert twin(shown(), 2) == TWIN
    assert twin(shown(), None).endswith(f"\n\n{FOOT}")


def test_twin_without_a_step_is_the_last_one():
    assert twin(shown(), None) == twin(shown(), 4) == twin(shown(), 99)


def test_once_writes_the_last_match_only():
    assert names(shown(features=(VM, MMIO))) == [
        ("choose", None),
        ("copy", 2),
        ("relocate", 2),
        ("pad", 2),
        ("merge", 2),
    ]


def test_layered_writes_each_match_over_the_last():
    assert names(shown(features=(VM, MMIO), engine="layered")) == [
        ("choose", None),
        ("copy", 1),
        ("relocate", 1),
        ("copy", 2),
        ("relocate", 2),
        ("pad", 2),
        ("merge", 2),
    ]


def test_every_byte_has_the_letter_of_its_origin():
    assert [letters(step) for step in shown()["steps"]] == [
        "O" * 17,
        "C" * 7 + "O" * 10,
        "CCCRRRR" + "O" * 10,
        "CCCRRRR" + "P" * 10,
        "CCCRRRR" + "N" * 10,
    ]
    assert {one["letter"] for one in shown()["legend"]} == set(ORIGINS)


def test_every_step_shows_every_byte_once_and_in_order():
    for name in SAMPLES:
        bench = sample(name)
        features = [bench.feature(number) for number in bench.features]
        for engine in Engine:
            for step in shown(name, features, engine)["steps"]:
                cells = [cell for row in step["rows"] for cell in row["cells"]]
                assert [cell["at"] for cell in cells] == list(range(bench.site.length))


def test_a_cell_is_new_where_the_step_changed_it():
    merge = shown()["steps"][-1]
    assert [cell["new"] for row in merge["rows"] for cell in row["cells"]] == [False] * 7 + [True] * 10


def test_rest_of_an_older_replacement_is_not_shown_as_code():
    copy = shown(features=(VM, MMIO), engine="layered")["steps"][3]
    assert [row["text"] for row in copy["rows"][1:]] == ["(rest of replacement 1)"] * 2


@pytest.mark.parametrize(
    ("name", "features", "step", "words"),
    [
        ("three_way", (VM, MMIO), 0, "Entries 1 and 2 match. Only the last match is written. Entry 2 (CLEAR_CPU_BUF_VM) decides."),
        ("three_way", (), 0, "No entry matches these features, so the original code stays."),
        ("three_way", (), 1, "17 bytes of NOPs at +0 become one jump over them."),
        ("three_way", (VM,), 1, "verw still counts from its old place: here it would reach 0xffffffffbffffff8"),
        ("three_way", (VM,), 3, "10 bytes are left at the end. They become one-byte NOPs (90)."),
        ("jump_over", ("CLEAR_CPU_BUF",), 1, "Replacement 1 is empty, so nothing is copied."),
        ("call_helper", ("SMAP",), 2, "To helper that is -0x56 from the replacement and 0x1d from the site."),
        ("jump_out", ("SMAP",), 2, "jmp goes to +6: -0x71 away from the end of the instruction in the replacement, 0x4 here."),
    ],
)  # fmt: skip
def test_each_step_is_explained_from_its_bytes(name, features, step, words):
    assert words in shown(name, features)["steps"][step]["said"]


def test_early_engine_says_what_it_breaks():
    last = shown(engine="early")["steps"][-1]["said"]
    assert "It is broken: verw should reach verw_selector, but reaches" in last
    assert "broken" not in shown(engine="layered")["verdict"]


def test_engines_are_compared_with_the_one_shown():
    said = {one["id"]: one["said"] for one in shown(engine="layered")["engines"]}
    assert said["layered"] == "shown here: 1 entry written"
    assert said["once"] == "the same bytes, 1 entry written"
    assert said["early"].startswith("other bytes at +3 to +16")


def test_a_frame_is_plain_json_and_the_same_each_time():
    first = json.dumps(shown())
    assert json.dumps(shown()) == first
    assert "0x7f" not in first


# --- samples and typed code --------------------------------------------------------------------------------


def meaning(bench):
    """What a site does, wherever it was laid out: its bytes and entries, displacements left out."""
    sizes = [(entry.feature, entry.flags, entry.replacement_length) for entry in bench.site.entries]
    made = frame({"features": [bench.feature(number) for number in bench.features]}, bench)
    code = [(row["text"].split()[0], row["note"]) for row in made["steps"][-1]["rows"]]
    return bench.site.original, sizes, code


def test_samples_are_the_sites_of_the_lab_in_their_order():
    from vmenter.patching.lab import LAB

    globals_ = [
        line.split()[1] for line in (LAB / "patching.S").read_text().splitlines() if line.startswith(".globl")
    ]
    assert list(SAMPLES) == [name for name in globals_ if name != "helper"]


@pytest.mark.parametrize("name", SAMPLES)
def test_text_of_a_sample_assembles_to_the_sample(name):
    bench = sample(name)
    assert meaning(typed(bench.text.original, bench.text.replacements, bench.text.after)) == meaning(bench)


@pytest.mark.parametrize(
    ("original", "replacements", "place", "line", "column", "message"),
    [
        ("movq %eax,", [("nop", "SMAP")], "original", 1, 11, "unknown token"),
        ("nop", [("nop\nfoo %rax", "SMAP")], "replacement 1", 2, 1, "invalid instruction mnemonic"),
        ("nop", [("nop", "SMAP"), ("jmp 1f", "SMAP")], "replacement 2", 1, None, "numeric label"),
        ("nop", [("nop", "SNAP")], "replacement 1", None, None, "no feature is called 'SNAP'"),
        ("nop", [], "", None, None, "1 to 3 replacements"),
    ],
)
def test_a_mistake_is_placed_in_the_field_it_is_in(original, replacements, place, line, column, message):
    with pytest.raises(TypedError, match=message) as caught:
        typed(original, replacements)
    assert (caught.value.place, caught.value.line) == (place, line)
    assert caught.value.column in (column, None)  # not every assembler names one


def test_three_replacements_may_be_typed():
    bench = typed("", [("nop", "SMAP"), ("call helper", VM), ("ret", "NOT ALWAYS")])
    assert [entry.negated for entry in bench.site.entries] == [False, False, True]
    made = frame({"features": [VM, "ALWAYS"]}, bench)
    assert made["steps"][-1]["rows"][0]["text"] == "callq helper"


def test_a_mistake_keeps_the_last_good_frame():
    good = shown()
    bad = frame({"sample": None, "typed": {"original": "nop\nfoo", "replacements": [["nop", "SMAP"]]}}, last=good)
    assert bad["steps"] == good["steps"]
    assert bad["error"]["place"] == "original"
    assert bad["error"]["line"] == 2
    assert bad["error"]["source"].startswith("foo")
    assert "not assembled: original, line 2" in twin(bad, None)


def test_a_site_of_no_bytes_is_an_error_and_not_a_crash():
    bad = frame({"typed": {"original": "", "replacements": [["", "SMAP"]]}}, last=shown())
    assert "length 0" in bad["error"]["text"]


# --- the widget --------------------------------------------------------------------------------------------


def test_representation_is_the_twin():
    bench = PatchBench(sample="three_way", features=(VM,), step=2)
    assert repr(bench) == TWIN
    data, _ = bench._repr_mimebundle_()
    assert data["text/plain"] == TWIN
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "→ verw_selector" in data["text/html"]


def test_a_new_state_makes_a_new_frame():
    bench = PatchBench(features=(VM,))
    bench.state = {**bench.state, "features": [], "step": None}
    assert bench.frame["verdict"].startswith("No entry matches")
    assert "eb 0f" in repr(bench)


def test_it_opens_on_its_first_step_and_tells_with_the_last_what_the_steps_lead_to():
    bench = PatchBench(features=(VM,))
    assert "step 1 of 5: choose" in repr(bench)
    assert bench.frame["verdict"] not in repr(bench)
    assert "layered" not in repr(bench)
    bench.state = {**bench.state, "step": None}
    assert bench.frame["verdict"] in repr(bench)
    assert "\nlayered " in repr(bench)


def test_stepping_makes_no_new_frame():
    bench = PatchBench(features=(VM,))
    seen = []
    bench.observe(seen.append, "frame")
    bench.state = {**bench.state, "step": 0}
    assert seen == []
    assert "step 1 of 5: choose" in repr(bench)


@pytest.mark.parametrize(
    "state",
    [{"sample": "no such"}, {"sample": None}, {"engine": "late"}, {"typed": 3, "sample": None}, {"typed": {"replacements": [1]}, "sample": None}],
)  # fmt: skip
def test_no_state_breaks_the_widget(state):
    bench = PatchBench(features=(VM,))
    good = bench.frame["steps"]
    bench.state = {**bench.state, **state}
    assert bench.frame["error"]["text"]
    assert bench.frame["steps"] == good
    assert "the last good state" in repr(bench)


def test_typed_code_and_real_sites_are_shown_as_samples_are():
    own = PatchBench.typed("stac", [("", "NOT SMAP")], features=("SMAP",))
    assert own.frame["verdict"].startswith("No entry matches")
    bench = sample("call_helper")
    real = PatchBench.of(bench.image, bench.site, features=("SMAP",))
    assert real.frame["title"] == "call_helper"
    assert real.frame["steps"][-1]["rows"][0]["text"] == "callq helper"


def test_an_unknown_name_is_refused_at_once():
    with pytest.raises(LabError, match="no sample is called"):
        PatchBench(sample="four_way")
    with pytest.raises(LabError, match="no feature is called"):
        PatchBench(features=("CLEAR_CPU_BUFF",))
    with pytest.raises(LabError, match="no engine is called"):
        PatchBench(engine="late")


# --- what a real kernel's site has besides ------------------------------------------------------------------


def old_site(kernel: str | None = "5.10.262", *, feature: int = 1, also: bool = False) -> tuple:
    """Return an image with one site of padding behind one instruction, and the site."""
    image = build(Place(b"\xfa\x90\x90\x90", (Alt(feature, b"\xfb"),)), record_size=12, kernel=kernel)
    if also:
        named = Section(
            ".return_sites", RETURNS, 4, struct.pack("<i", TEXT - RETURNS), executable=False, writable=False
        )
        image = replace(image, sections=(*image.sections, named))
    return image, read(image).sites[0]


def test_a_kernel_whose_cpu_decides_its_nops_leaves_a_site_undecided_until_they_are_chosen():
    bench = PatchBench.of(*old_site(), engine="early", step=None)
    assert "NOPs: by cpu" in bench.text
    assert "p6 or k8" in bench.text
    assert [one["on"] for one in bench.frame["nops"]] == [False, False]
    bench.state = {**bench.state, "nops": "k8"}
    assert "NOPs: k8" in bench.text
    assert "66 66 90" in bench.text
    assert [one["on"] for one in bench.frame["nops"]] == [False, True]


def test_nops_may_be_given_and_only_the_early_patcher_asks_for_them():
    assert "66 66 90" in PatchBench.of(*old_site(), engine="early", nops="k8", step=None).text
    assert "0f 1f 00" in PatchBench.of(*old_site(), engine="early", nops="p6", step=None).text
    assert "0f 1f 00" in PatchBench.of(*old_site("5.15.0"), engine="early", step=None).text
    later = PatchBench.of(*old_site(), engine="once", nops="k8", step=None)
    assert later.frame["nops"] == []
    assert "0f 1f 00" in later.text
    with pytest.raises(LabError, match="no NOPs are called 'p5'; there are p6 and k8"):
        PatchBench.of(*old_site(), engine="early", nops="p5")


def test_every_cpu_has_always_and_it_cannot_be_switched_off():
    bench = PatchBench.of(*old_site(None, feature=ALWAYS), names={ALWAYS: "ALWAYS"}, step=None)
    assert bench.frame["features"] == [{"name": "ALWAYS", "on": True, "fixed": True}]
    assert "Entry 1 of 1 is the only match" in bench.text
    bench.state = {**bench.state, "features": []}
    assert "Entry 1 of 1 is the only match" in bench.text


@pytest.mark.parametrize("also", [True, False])
def test_a_site_that_another_patcher_writes_says_so(also):
    bench = PatchBench.of(*old_site("6.1.192", also=also))
    assert bool(bench.frame["also"]) == also
    assert ("also in return_sites: another patcher" in bench.text) == also
