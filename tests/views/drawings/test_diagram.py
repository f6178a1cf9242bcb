import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import nbformat
import pytest

from vmenter import LabError
from vmenter.patching.alternative_table import Engine, Rules
from vmenter.patching.alternatives import patch
from vmenter.views.drawings.decision import decision_diagram
from vmenter.views.drawings.diagram import KEPT, Diagram, Mark, layout, mark, text_size
from vmenter.views.patch.bench import sample

DOT = r'digraph { subgraph cluster_x { label="room"; a -> b [label="goes <on>"] } b [label="two\llines\l", class="code", shape=box] }'


def drawn(dot=DOT, **options):
    return ET.fromstring(layout(dot, **options))


def keyed(root, key):
    return next(group for group in root.iter("{http://www.w3.org/2000/svg}g") if group.get("data-key") == key)


def test_nothing_reaches_standard_error():
    done = subprocess.run(
        [sys.executable, "-c", f"from vmenter.views.drawings.diagram import layout; print(len(layout({DOT!r})))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert int(done.stdout) > 500


def test_a_notebook_cell_that_draws_shows_the_drawing_and_nothing_else():
    from nbclient import NotebookClient

    code = f"from vmenter.views.drawings.diagram import Diagram, layout\nDiagram(layout({DOT!r}), 'twin')"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(book, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert output.output_type == "execute_result"
    assert output.data["text/plain"] == "twin"
    assert output.data["text/html"].startswith('<img style="max-width: 100%" alt="twin" src="data:image/svg+xml')


def test_drawing_is_the_same_every_time_and_in_every_process():
    code = f"from vmenter.views.drawings.diagram import layout; print(layout({DOT!r}), end='')"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other == layout(DOT)


def test_no_colour_is_fixed_outside_the_style_sheet():
    body = re.sub(r"<style>.*?</style>", "", layout(DOT), flags=re.DOTALL)
    assert not re.findall(r"(?:fill|stroke)=", body)
    assert "font-family" not in body


def test_labels_are_text_with_their_lines():
    root = drawn()
    lines = [element.text for element in keyed(root, "b").iter("{http://www.w3.org/2000/svg}text")]
    assert lines == ["two", "lines"]
    (edge,) = keyed(root, "a->b").iter("{http://www.w3.org/2000/svg}text")
    assert edge.text == "goes <on>"
    (room,) = keyed(root, "cluster_x").iter("{http://www.w3.org/2000/svg}text")
    assert room.text == "room"


def test_a_node_without_a_label_shows_its_name():
    (text,) = keyed(drawn(), "a").iter("{http://www.w3.org/2000/svg}text")
    assert text.text == "a"


def test_a_screen_reader_finds_role_title_and_description():
    root = drawn(title="A title", description="What it shows")
    assert root.get("role") == "img"
    by_id = {element.get("id"): element.text for element in root if element.get("id")}
    assert [by_id[name] for name in root.get("aria-labelledby").split()] == ["A title", "What it shows"]


def test_ids_differ_between_drawings_and_not_within_one():
    def ids(svg):
        return re.findall(r'\bid="([^"]+)"', svg)

    one, two = ids(layout(DOT)), ids(layout(DOT.replace("two", "three")))
    assert len(set(one)) == len(one)
    assert not set(one) & set(two)


def test_marks_change_classes_and_the_lines_they_name():
    root = ET.fromstring(mark(layout(DOT), {"b": Mark("on", f"{KEPT}\nother")}))
    assert keyed(root, "b").get("class") == "node code on"
    assert [element.text for element in keyed(root, "b").iter("{http://www.w3.org/2000/svg}text")] == [
        "two",
        "other",
    ]


def test_a_wider_text_takes_more_room():
    assert text_size("mmmm")[0] > text_size("iiii")[0]
    assert text_size("ab", code=True)[0] == 2 * text_size("a", code=True)[0]
    assert text_size("a\nb")[1] == 2 * text_size("a")[1]


def test_bad_dot_is_the_librarys_own_error():
    with pytest.raises(LabError, match="Graphviz"):
        layout("digraph { a -> }")


def test_html_labels_are_refused():
    with pytest.raises(LabError, match="HTML"):
        layout("digraph { a [label=<<b>x</b>>] }")


def test_a_file_of_its_own_is_light_or_dark_or_as_its_reader_prefers():
    diagram = Diagram(layout(DOT), "twin")
    assert 'class="vm-diagram alone dark"' in diagram.file(dark=True)
    assert 'class="vm-diagram alone light"' in diagram.file(dark=False)
    assert 'class="vm-diagram alone"' in diagram.file()


def decided(name, features, engine=Engine.ONCE):
    bench = sample(name)
    numbers = bench.numbers(features)
    made = patch(bench.image, bench.site, numbers, Rules(engine, 14, wide_nops=True))
    return decision_diagram(made, features=numbers, engine=engine)


def test_decision_names_the_last_match():
    both = ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO")
    assert decided("three_way", both).text == (
        "site: 17 bytes\n"
        "entry 1  CLEAR_CPU_BUF_VM_MMIO  matches -> not written\n"
        "entry 2  CLEAR_CPU_BUF_VM       matches, decides -> written\n"
        "at the site: replacement 2"
    )
    assert decided("three_way", both, Engine.LAYERED).text == (
        "site: 17 bytes\n"
        "entry 1  CLEAR_CPU_BUF_VM_MMIO  matches -> written, then written over\n"
        "entry 2  CLEAR_CPU_BUF_VM       matches, decides -> written last, stays\n"
        "at the site: replacement 2"
    )


def test_decision_is_drawn_as_it_is_told():
    root = ET.fromstring(decided("three_way", ("CLEAR_CPU_BUF_VM_MMIO",)).svg)
    assert "decides" in keyed(root, "e1").get("class").split()
    assert "off" in keyed(root, "e2").get("class").split()
    assert [text.text for text in keyed(root, "end").iter("{http://www.w3.org/2000/svg}text")] == [
        "at the site: replacement 1"
    ]


def test_decision_without_a_match_keeps_the_original():
    diagram = decided("unless_smap", ("SMAP",))
    assert diagram.text.endswith("at the site: original code")
    assert "on" in keyed(ET.fromstring(diagram.svg), "e1->end").get("class").split()


def test_decision_of_unnamed_features_shows_their_numbers():
    bench = sample("clear_or_not")
    made = patch(bench.image, bench.site, set(), Rules(Engine.ONCE, 14, wide_nops=True))
    assert "3*32+18" in decision_diagram(made, names={}).text
