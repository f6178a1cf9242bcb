"""A view's text twin, as the page itself shows it: read, and waited for."""


def read(selector, page):
    """Return the text of the twin."""
    return page.locator(selector).text_content()


def wait(selector, page, words, *, timeout=10_000):
    """Wait until these words are in the twin; milliseconds."""
    page.wait_for_function(
        "([twin, words]) => document.querySelector(twin)?.textContent.includes(words)",
        arg=[selector, words],
        timeout=timeout,
    )
