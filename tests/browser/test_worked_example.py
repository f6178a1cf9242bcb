"""The view that CONTRIBUTING shows how to write, in a page."""

from worked import far_view

from . import axe


def test_the_example_of_a_view_follows_its_reader(open_page, tmp_path, monkeypatch):
    far_view(tmp_path, monkeypatch)
    page = open_page(["from vmenter.views.far.widget import FarView\nFarView()"])
    view = page.get_by_role("region", name="Far view")
    view.get_by_text("46 instructions between").first.wait_for()
    view.get_by_label("Code of").select_option("before-mds")
    view.get_by_text("nothing clears", exact=True).first.wait_for()
    assert view.locator("pre").text_content() == "before-mds: nothing clears"
    assert axe.findings(view) == []
    assert page.mistakes == []
