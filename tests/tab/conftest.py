import pytest
from browser.conftest import FLAGS

from vmenter.course.doctor import find_browser
from vmenter.course.tab.build import OUTPUT

from .visit import Visit, serving


@pytest.fixture(scope="session")
def address():
    """Where the built tab is served."""
    assert (OUTPUT / "index.html").is_file(), "the tab is not built: make tab"
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def chromium():
    """The browser, by Playwright."""
    program = find_browser()
    assert program, "no Chromium here: sudo apt-get install chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visit(chromium, address):
    """One visit with one kernel, for all tests that only run code."""
    found = Visit(chromium, address)
    found.open()
    found.start()
    yield found
    found.context.close()
