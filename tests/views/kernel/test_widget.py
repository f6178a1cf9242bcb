"""KernelBrowser's frames and its widget, without a browser: what is shown is what the image holds."""

import json
import re
import struct
from dataclasses import replace
from functools import cache
from shutil import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import kernel_file, kernel_files
from pieces import TEXT, Alt, Place, build

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.code.image import Section, from_bytes, load
from vmenter.code.instructions import decode
from vmenter.patching import alternative_table, alternatives, features
from vmenter.patching.lab import feature_numbers, lab_object
from vmenter.views.kernel.frame import CHANGED, COLUMNS, PAGE, frame, table
from vmenter.views.kernel.widget import KernelBrowser, lab_table
from vmenter.views.view import twin

LAB = ("patching", "beyond", "e6ff1d61de51", "43fb862de8f6")
FEATURES = ("CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO", "SMAP")


@cache
def of(name):
    return table(from_bytes(lab_object(name), f"{name}.o"))


@cache
def real(version="7.3.4", file="kvm-intel.ko.xz"):
    return table(load(kernel_file(version, file)))


def every_row(of, state):
    """All rows of all pages."""
    found, rows = frame(of, state)["found"], []
    for top in range(0, max(found, 1), PAGE):
        rows += frame(of, {**state, "top": top})["rows"]
    return rows


def by_hand(of, state):
    """The addresses that should be shown, from the image alone."""
    image, how = of.image, of.how
    on = {features.number(name, image.kernel) for name in state["features"]}
    found = set()
    for site in alternative_table.sites(image, alternative_table.entries(image, how.record_size)):
        names = {features.name(entry.feature, image.kernel) for entry in site.entries}
        codes = [(site.original, site.address)]
        codes += [(image.read(e.replacement, e.replacement_length), e.replacement) for e in site.entries
                  if e.replacement_length]  # fmt: skip
        mnemonics = {one.mnemonic for code, address in codes for one in decode(code, address, strict=False)}
        function = re.sub(r"\+0x[0-9a-f]+$", "", image.label(site.address))
        made = alternatives.patch(image, site, on, how)
        if (
            (not state["feature"] or state["feature"] in names)
            and state["function"] in function
            and (not state["text"] or any(state["text"] in mnemonic for mnemonic in mnemonics))
            and (not state["changed"] or made.code not in (None, site.original))
        ):
            found.add(f"{site.address:#x}")
    return found


@given(
    st.sampled_from(LAB),
    st.fixed_dictionaries({
        "feature": st.sampled_from(["", *FEATURES]),
        "function": st.sampled_from(["", "three", "vmx", "e"]),
        "text": st.sampled_from(["", "verw", "nop", "jmp"]),
        "changed": st.booleans(),
        "features": st.lists(st.sampled_from(FEATURES), unique=True),
        "sort": st.sampled_from([*COLUMNS]),
        "descending": st.booleans(),
    }),
)  # fmt: skip
def test_filters_find_what_a_walk_over_the_image_finds(name, state):
    browsed = of(name)
    state = {**state, "features": [name for name in state["features"] if name in browsed.numbers]}
    if state["feature"] not in ("", *browsed.numbers):
        state = {**state, "feature": ""}
    rows = every_row(browsed, state)
    shown = [row["address"] for row in rows]
    assert len(shown) == len(set(shown)) == frame(browsed, state)["found"]
    assert set(shown) == by_hand(browsed, state)


@pytest.mark.parametrize("state", [
    {"feature": "", "function": "vmx_vcpu_run", "text": "", "changed": False},
    {"feature": "", "function": "", "text": "verw", "changed": False},
    {"feature": "XENPV", "function": "", "text": "", "changed": False},
    {"feature": "", "function": "", "text": "", "changed": True},
])  # fmt: skip
def test_the_same_over_a_real_module(state):
    state = {**state, "features": ["ALWAYS", "CLEAR_CPU_BUF_VM"]}
    rows = every_row(real(), state)
    assert {row["address"] for row in rows} == by_hand(real(), state)
    assert rows


@pytest.mark.parametrize("name", LAB)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_sorts_both_ways_and_loses_nothing(name, column):
    up, down = (every_row(of(name), {"sort": column, "descending": way}) for way in (False, True))
    keys = {
        "site": lambda row: int(row["address"], 16),
        "function": lambda row: row["function"],
        "features": lambda row: [entry["text"] for entry in row["entries"]],
        "length": lambda row: row["length"],
        "outcome": lambda row: row["outcome"] != CHANGED,
    }
    assert [*map(keys[column], up)] == sorted(map(keys[column], up))
    assert [*map(keys[column], down)] == sorted(map(keys[column], up), reverse=True)
    assert {row["address"] for row in up} == {row["address"] for row in down}
    directions = [one["sort"] for one in frame(of(name), {"sort": column})["columns"]]
    assert sorted(directions) == ["ascending", "none", "none", "none", "none"]


@pytest.mark.parametrize("on", [(), ("SMAP",), ("CLEAR_CPU_BUF",), FEATURES])
def test_a_row_tells_what_the_engine_makes_of_its_site(on):
    numbers = {feature_numbers()[name] for name in on}
    browsed = of("patching")
    for row in every_row(browsed, {"features": list(on)}):
        site = browsed.bench(int(row["address"], 16)).site
        made = alternatives.patch(browsed.image, site, numbers, browsed.how)
        assert [entry["chosen"] for entry in row["entries"]] == [
            index == made.chosen for index in range(len(site.entries))
        ]
        assert (row["outcome"] == CHANGED) == (made.code != site.original)
        assert [entry["on"] for entry in row["entries"]] == [entry.feature in numbers for entry in site.entries]
        instructions = decode(made.code, site.address, strict=False)
        if row["outcome"] == CHANGED:
            assert row["patched"].split()[0] == instructions[0].mnemonic


def test_counts_are_those_of_the_image():
    shown = frame(of("patching"), {})
    assert (shown["sites"], shown["found"]) == (8, 8)
    assert {one["name"]: one["sites"] for one in shown["features"]} == {
        "SMAP": 4, "CLEAR_CPU_BUF": 2, "CLEAR_CPU_BUF_VM": 2, "CLEAR_CPU_BUF_VM_MMIO": 2,
    }  # fmt: skip
    assert sum(shown["outcomes"].values()) == 8
    assert "10 entries at 8 sites" in twin(shown)


@pytest.mark.parametrize("cpu", PRESETS)
def test_a_preset_is_what_boot_selects_there(cpu):
    shown = frame(of("patching"), {"cpu": cpu})
    on = {one["name"] for one in shown["features"] if one["on"]}
    assert on == set(select(PRESETS[cpu].host, "7.3.4").features).intersection(of("patching").numbers)
    assert shown["bench"]["features"] == [one["name"] for one in shown["features"] if one["on"]]
    assert PRESETS[cpu].title in " ".join(twin(shown).split())


def test_an_older_kernel_is_patched_for_what_it_selects_itself():
    assert [one["name"] for one in frame(of("43fb862de8f6"), {"cpu": "skylake-server"})["features"] if one["on"]]
    row = frame(of("43fb862de8f6"), {"cpu": "skylake-server", "text": "verw"})["rows"][0]
    assert row["patched"].startswith("verw")
    row = frame(of("e6ff1d61de51"), {"cpu": "ice-lake-server", "function": "__vmx_vcpu_run", "text": "verw"})[
        "rows"
    ][0]
    assert [entry["text"] for entry in row["entries"] if entry["chosen"]] == ["CLEAR_CPU_BUF_VM_MMIO"]


@pytest.mark.parametrize("state", [{}, {"cpu": "skylake-server"}, {"text": "verw"}, {"text": "nothing has this"}])
@pytest.mark.parametrize("name", LAB)
def test_a_frame_is_plain_data_and_its_twin_says_what_is_shown_in_sixty_lines(name, state):
    shown = frame(of(name), state)
    assert json.loads(json.dumps(shown)) == shown
    assert len(twin(shown).splitlines()) <= 60
    for row in shown["rows"]:
        assert row["label"] in twin(shown)
        assert row["original"].split(";")[0] in twin(shown)
    assert shown["said"] in twin(shown)


def test_a_twin_of_a_whole_kernel_has_at_most_sixty_lines():
    browsed = real(file="vmlinuz")
    for state in (
        {},
        {"cpu": "skylake-server", "text": "nop", "feature": "ALWAYS", "features": [*browsed.numbers]},
    ):
        assert len(twin(frame(browsed, state)).splitlines()) <= 60


def test_what_does_not_exist_is_one_clear_error():
    for state, message in (
        ({"feature": "SMEP"}, "no entry asks for 'SMEP' here"),
        ({"sort": "colour"}, "there is no column 'colour'; there are site"),
        ({"cpu": "z80"}, "no CPU is called 'z80'"),
    ):
        with pytest.raises(LabError, match=message):
            frame(of("patching"), state)
    with pytest.raises(LabError, match="no alternative site at 0x7"):
        of("patching").bench(7)


STATES = st.dictionaries(
    st.sampled_from(["feature", "function", "text", "changed", "sort", "descending", "cpu", "features", "top", "x"]),
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=8) | st.sampled_from([float("nan"), float("inf")])
    | st.lists(st.text(max_size=5) | st.lists(st.integers(), max_size=1), max_size=3)
    | st.sampled_from([*COLUMNS, *FEATURES, *PRESETS]) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)  # fmt: skip


@given(STATES)
def test_a_state_that_makes_no_sense_leaves_the_last_good_page_standing(state):
    browser = KernelBrowser()
    good = browser.frame
    browser.state = state
    if browser.frame["error"]:
        assert {name: browser.frame[name] for name in good} == {**good, "error": browser.frame["error"]}
        assert "Still shown: the last good page." in browser.text
    else:
        assert len(browser.frame["rows"]) <= PAGE
    browser.state = {"text": "verw"}
    assert browser.frame["error"] is None


@given(STATES | st.fixed_dictionaries({"site": st.text(max_size=9) | st.integers() | st.none()}))
def test_a_bench_state_that_makes_no_sense_opens_nothing(state):
    browser = KernelBrowser()
    browser.open_inner(state)
    assert (browser.inner, browser.opened) == (None, {})
    assert "cannot be opened" in browser.frame["error"]


def test_a_site_opens_on_the_bench_with_the_features_that_are_on():
    browser = KernelBrowser(cpu="skylake-server", function="three_way")
    row = browser.frame["rows"][0]
    browser.open_inner({**browser.frame["bench"], "site": row["address"]})
    shown = browser.inner.frame
    assert browser.opened["site"] == row["address"]
    assert shown["title"] == "three_way"
    assert [one["on"] for one in shown["features"]] == [False, True]
    assert shown["engine"] == "once"
    assert browser.text.endswith("\nOpened: three_way")
    bench = browser.inner
    bench.state = {**bench.state, "features": ["CLEAR_CPU_BUF_VM_MMIO"], "step": 0}
    assert [one["on"] for one in bench.frame["features"]] == [True, False]
    browser.state = {**browser.state, "function": "jump"}
    assert (browser.inner, bench.frame["title"]) == (bench, "three_way")
    browser.shut_inner()
    assert (browser.inner, browser.opened, "Opened" in browser.text) == (None, {}, False)
    assert bench.comm is None, "its line to the page is closed"


def test_every_site_of_a_real_module_opens_on_the_bench():
    browser = KernelBrowser(load(kernel_file("7.3.4", "kvm-intel.ko.xz")), features=["ALWAYS"])
    for row in every_row(real(), {}):
        browser.open_inner({**browser.frame["bench"], "site": row["address"]})
        assert (browser.inner.frame["title"], browser.inner.frame["error"]) == (row["label"], None)
        assert browser.frame["error"] is None


def test_the_default_is_the_labs_own_image_and_its_repr_never_changes():
    browser = KernelBrowser()
    assert repr(browser) == repr(KernelBrowser()) == twin(frame(lab_table(), browser.state))
    assert browser.frame == frame(lab_table(), {})
    assert "patching.o" in browser._repr_mimebundle_()[0]["text/html"]


def test_a_vmlinuz_opens_as_a_module_does_and_a_folder_of_both_by_what_is_asked_for(tmp_path):
    vmlinuz, module = (kernel_file("7.3.4", name) for name in ("vmlinuz", "kvm-intel.ko.xz"))
    browser = KernelBrowser.live(vmlinuz)
    assert (browser.frame["title"], browser.frame["error"]) == ("vmlinuz", None)
    assert browser.frame["sites"] > 1000
    row = browser.frame["rows"][0]
    browser.open_inner({**browser.frame["bench"], "site": row["address"]})
    assert browser.inner.frame["title"] == row["label"]
    assert repr(browser) == "[A kernel of your own: shown when you run this cell]"
    for file in (vmlinuz, module):
        copy(file, tmp_path)  # a link out of the folder would not be followed
    assert KernelBrowser.live(tmp_path).frame["title"] == "kvm-intel.ko.xz"
    assert KernelBrowser.live(tmp_path, "vmlinuz").frame["title"] == "vmlinuz"


def test_of_a_kernel_read_live_nothing_is_stored_with_a_notebook():
    browser = KernelBrowser.live(kernel_file("7.3.4", "kvm-intel.ko.xz"))
    assert repr(browser) == "[A kernel of your own: shown when you run this cell]"
    stored = json.dumps([browser._repr_mimebundle_()[0].get(kind) for kind in ("text/plain", "text/html")])
    assert "7.3.4" not in stored
    assert "7.3.4" in browser.text


def test_without_a_kernel_the_labs_image_is_shown_and_the_reason(tmp_path):
    browser = KernelBrowser.live(tmp_path)
    assert "holds no kernel" in browser.frame["note"]
    assert browser.frame["sites"] == 8
    assert repr(browser) == repr(KernelBrowser.live(tmp_path / "nowhere"))


def test_a_filter_meant_for_a_kernel_does_not_empty_the_labs_image(tmp_path):
    browser = KernelBrowser.live(
        tmp_path,
        function="__vmx_vcpu_run",
        feature="CLEAR_CPU_BUF",
        text="verw",
        changed=True,
        cpu="skylake-server",
    )
    assert len(browser.frame["rows"]) == 8
    assert browser.state["cpu"] == "skylake-server"


@pytest.mark.parametrize("path", kernel_files("kvm-*.ko*") or [None])
def test_every_module_at_hand_can_be_browsed(path):
    browsed = table(load(path or kernel_file("6.12.117", "kvm-intel.ko.xz")))
    shown = frame(browsed, {"cpu": "skylake-server"})
    assert shown["sites"] == len(browsed.rows) > 0


def test_a_kernel_whose_cpu_decides_its_nops_shows_which_sites_depend_on_it_and_others_are_named():
    site = Place(b"\xfa\x90\x90\x90", (Alt(3 * 32 + 21, b"\xfb"),))
    image = build(site, record_size=12, kernel="5.10.262")
    named = Section(
        ".return_sites", 0xF0_0000, 4, struct.pack("<i", TEXT - 0xF0_0000), executable=False, writable=False
    )
    image = replace(image, sections=(*image.sections, named))
    (open_,) = KernelBrowser(image).frame["rows"]
    (k8,) = KernelBrowser(image, nops="k8").frame["rows"]
    assert open_["outcome"] == "cannot tell"
    assert "p6 or k8" in open_["patched"]
    assert k8["outcome"] == "changed"
    assert "also in return_sites: another patcher" in k8["patched"]
    assert KernelBrowser(image, features=()).frame["features"][0] == {
        "name": "ALWAYS", "sites": 1, "on": True, "fixed": True,
    }  # fmt: skip
