"""LiveText: shown in the page, never stored."""

from vmenter import LabError
from vmenter.views.live import LiveText


def test_what_is_told_is_shown_and_not_stored():
    live = LiveText.of("Your kernel", lambda: "version 7.3.4")
    assert (live.title, live.text) == ("Your kernel", "version 7.3.4")
    assert repr(live) == "[Your kernel: shown when you run this cell]"


def test_where_there_is_nothing_to_tell_the_reason_is_shown():
    def nothing():
        raise LabError("no kernel is installed")

    live = LiveText.of("Your kernel", nothing)
    assert live.text == "Not here: no kernel is installed"
    assert repr(live) == "[Your kernel: shown when you run this cell]"
