"""Still pictures of the views: what is stored with a notebook shows what the frame shows, and nothing of a live one."""

import base64
import re
import xml.etree.ElementTree as ET

import pytest

from vmenter.views.drawings.diagram import text_size
from vmenter.views.drawings.still import SIZE, WIDTH, Sheet
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.exposure.widget import ExposureMap
from vmenter.views.host.widget import HostView
from vmenter.views.kernel.widget import KernelBrowser
from vmenter.views.patch.bench import SAMPLES
from vmenter.views.patch.widget import PatchBench
from vmenter.views.static import TEXT

VIEWS = {
    "explorer": (EntryExplorer, ("BROKEN", "no clear", "VM-Enter: VMLAUNCH", "KVM's L1D flush")),
    "two eras": (
        lambda: EntryExplorer(compare="e6ff1d61de51"),
        ("BROKEN", "kept", "V VERW: clears the CPU buffers"),
    ),
    "selection": (lambda: EntryExplorer(show=("selection",)), ("MDS", "on unless switched off")),
    "neutralised": (
        lambda: EntryExplorer("e6ff1d61de51", preset="cascade-lake-no-tsx", mmio="assigned", guest_fb_clear=True),
        ("e6ff1d61de51",),
    ),
    "map": (ExposureMap, ("650b68a0622f", "all", "Selected:")),
    "map, one dimension": (lambda: ExposureMap("mds"), ("650b68a0622f", "yes", "no")),
    "host": (lambda: HostView("cascade-lake"), ("BROKEN", "M mitigated", "mmio_stale_data taa")),
    "AMD's host": (lambda: HostView("epyc-tsa"), ("TSA",)),
    "kernel": (KernelBrowser, ("three_way", "Original")),
    "bench": (PatchBench, ("Step 1 of ", "+0")),
    "bench, last step": (lambda: PatchBench(features=("CLEAR_CPU_BUF_VM",), step=None), ("Step 5 of 5", "c3")),
}


def drawn(widget):
    """Return the SVG that is stored with a notebook."""
    html = widget._repr_mimebundle_()[0]["text/html"]
    return base64.b64decode(re.search(r'src="data:image/svg\+xml;base64,([^"]*)"', html)[1]).decode()


def words(svg):
    return re.sub(r"\s+", " ", " ".join(text for text in ET.fromstring(svg).itertext()))


@pytest.mark.parametrize("name", VIEWS)
def test_what_is_stored_of_a_view_has_a_picture_that_says_what_the_frame_says(name):
    make, expected = VIEWS[name]
    svg = drawn(make())
    for text in expected:
        assert text in words(svg), text
    assert drawn(make()) == svg, "the same each time, or notebooks would differ"
    assert len(svg) < 40_000
    assert not re.search(r"https?://(?!www\.w3\.org/)|<script", svg)


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_stands_outside_the_picture(name):
    root = ET.fromstring(drawn(VIEWS[name][0]()))
    _, _, width, height = (float(one) for one in root.get("viewBox").split())
    for part in root.iter():
        if part.get("x") is None:
            continue
        assert 0 <= float(part.get("x")) <= width
        assert float(part.get("x")) + float(part.get("width", 0)) <= width
        assert 0 <= float(part.get("y")) <= height


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_a_picture_at_every_step(sample):
    bench = PatchBench(sample)
    for step, one in enumerate(bench.frame["steps"]):
        bench.state = {**bench.state, "step": step}
        assert one["heading"][1:] in words(drawn(bench))


def test_text_and_picture_are_both_there_for_who_cannot_see():
    html = PatchBench()._repr_mimebundle_()[0]["text/html"]
    assert html.startswith('<img style="max-width: 100%" alt="Patch bench"')
    assert f'<summary>As text</summary><pre style="{TEXT}">three_way' in html
    assert "font-family:monospace" in TEXT, "nbconvert would set it as prose, and no column would stand"


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_is_hardly_wider_than_a_page_so_that_it_is_not_shrunk_until_nobody_can_read_it(name):
    root = ET.fromstring(drawn(VIEWS[name][0]()))
    assert float(root.get("viewBox").split()[2]) <= (1180 if name == "kernel" else 1000)


def test_a_long_line_on_the_vcpu_goes_on_below():
    svg = drawn(EntryExplorer(recorded="7.3.4, mended", show=("events", "verdict")))
    assert float(ET.fromstring(svg).get("viewBox").split()[2]) <= 1000
    assert "CR2 unchanged" in words(svg)


@pytest.mark.parametrize(("compare", "count"), [(None, 1), ("e6ff1d61de51", 2)])
def test_the_way_through_the_code_is_stored_drawn_for_each_side_that_shows_it(compare, count):
    html = EntryExplorer(compare=compare, show=("flow", "verdict"))._html()
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
    assert len(pictures) == 1 + count
    way = base64.b64decode(pictures[1]).decode()
    assert "ran" in re.search(r'data-key="vmx_vcpu_run[^"]*"[^>]*|class="[^"]*ran[^"]*"', way)[0]
    assert "vmx_l1d_should_flush" in words(way)
    assert "<details open>" not in EntryExplorer(show=("verdict",))._html()


def test_of_what_was_read_live_there_is_no_picture():
    browser = KernelBrowser(live=True)
    assert "<img" not in browser._repr_mimebundle_()[0]["text/html"]
    view = HostView()
    view.set_trait("state", {**view.state, "live": False})
    assert "<img" in view._repr_mimebundle_()[0]["text/html"]


def test_boxes_that_do_not_fit_go_on_below():
    sheet = Sheet()
    sheet.boxes([("x" * 40, "", "")] * 5)
    root = ET.fromstring(sheet.picture("t", "t").svg)
    places = [(float(one.get("x")), float(one.get("y"))) for one in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert len({y for _, y in places}) > 1
    assert max(x for x, _ in places) < WIDTH


def test_what_is_written_under_one_box_does_not_touch_what_stands_under_the_next():
    sheet, under = Sheet(), "11 instructions, 4 accesses on"
    sheet.boxes([("F", "", under), ("E", "", under)])
    svg = sheet.picture("boxes", "").svg
    first, second = (float(x) for x in re.findall(rf'x="([\d.]+)"[^>]*>{under}<', svg))
    assert second - first > text_size(under, SIZE, code=True)[0] + 8


def test_a_picture_that_stands_alone_brings_its_paper_so_a_page_of_another_theme_leaves_it_readable():
    assert ".vm-diagram.alone { background: var(--d-paper); }" in drawn(PatchBench())


def test_one_access_is_one_access():
    shown = words(drawn(EntryExplorer(era="e6ff1d61de51", preset="skylake-server", show=("events",))))
    assert "3 instructions, 1 access on" in shown
    assert not re.search(r"\b1 (instructions|accesses)", shown)
