"""The timeline: moments in the order of time, in words and as accessible HTML."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from vmenter import LabError
from vmenter.story.history import ERAS
from vmenter.views.drawings.timeline import Moment, Timeline, timeline

OLD = Moment("2018-08-14", "v4.19", "old", "The first", "It began.")
NEW = Moment("2019-11-14", "list only", "new", "The <second>", "It went on & on.", "posted", ("mail a@b: why",))
NEW = replace(NEW, dated="posted", later=(("committed", "2019-12-01"), ("applied", "2019-12-02")))


def test_moments_come_in_the_order_of_time_with_long_gaps_named():
    assert str(Timeline((NEW, OLD), here="new")) == (
        "  2018-08-14 public  v4.19      merged  old: The first\n"
        "    It began.\n"
        "    … 1 year 3 months later …\n"
        "→ 2019-11-14 posted  list only  posted  new: The <second>\n"
        "    It went on & on. (Committed 2019-12-01, applied 2019-12-02.)"
    )


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.stack, self.seen, self.text = [], [], ""
        self.feed(html)
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.stack.append(tag)
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data if self.stack[0] != "style" else ""


def test_the_html_is_a_list_that_the_keyboard_opens():
    page = Reader(Timeline((OLD, NEW), here="new").html)
    tags = [tag for tag, _ in page.seen]
    assert tags.count("ol") == 1
    assert tags.count("details") == tags.count("summary") == tags.count("time") == 2
    assert [attributes.get("open", "no") for tag, attributes in page.seen if tag == "details"] == ["no", None]
    assert [a["datetime"] for tag, a in page.seen if tag == "time"] == ["2018-08-14", "2019-11-14"]
    assert sum(a.get("aria-current") == "true" for _, a in page.seen) == 1
    assert dict(page.seen)["ol"]["aria-label"]
    assert "The <second>" in page.text
    assert "2019-11-14 posted" in page.text
    assert "Committed 2019-12-01" in page.text
    assert "posted" in page.text, "the kind is said in words too, not by shape and letter alone"


def test_the_story_tells_every_era():
    story = timeline()
    assert [moment.id for moment in story.moments] == [*ERAS]
    for era in ERAS.values():
        assert era.title in story.html
        assert era.release in repr(story)
    bundle = story._repr_mimebundle_()
    assert bundle == {"text/plain": repr(story), "text/html": story.html}
    assert not re.search(r"https?://", story.html)


def test_a_date_says_what_it_is_and_no_day_of_posting_is_called_a_merge():
    days = {moment.id: (moment.date, moment.dated, dict(moment.later)) for moment in timeline().moments}
    assert days["43fb862de8f6"] == ("2024-02-13", "posted", {"committed": "2024-02-19"})
    assert days["83ebe7157483"] == ("2025-05-22", "posted", {"committed": "2025-06-25"})
    assert days["e6ff1d61de51"] == ("2025-11-13", "posted", {"applied": "2025-11-21"})
    assert {id_ for id_, (_, dated, _) in days.items() if dated == "public"} == {
        "before-mds",
        "650b68a0622f",
        "8cb861e9e3c9",
    }


@pytest.mark.parametrize(
    ("moments", "here", "words"),
    [
        ((replace(OLD, date="last year"),), None, "is no date"),
        ((replace(OLD, kind="rumour"),), None, "merged or posted"),
        ((OLD,), "nowhere", "no moment 'nowhere'"),
    ],
)
def test_what_makes_no_timeline_is_said(moments, here, words):
    with pytest.raises(LabError, match=words):
        Timeline(moments, here)
