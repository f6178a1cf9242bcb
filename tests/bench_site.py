"""How large the site is, how long it takes to build, and how soon its pages are ready: `make bench`."""

import sys
import tempfile
import time
from pathlib import Path

from bench import machine

from vmenter.course.doctor import find_browser
from vmenter.course.site import build

READY = "[...document.querySelectorAll('.live')].every(room => 'ready' in room.dataset)"
RUNS = 3


def opened(browser, path):
    """Return the seconds until a page, opened from its folder, has drawn all its views: the best of some."""
    times = []
    for _ in range(RUNS):
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_function(READY)
        times.append(time.perf_counter() - start)
        page.close()
    return min(times)


def main():
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        files = build(Path(folder), fresh=True)
        print(f"building the site               {time.perf_counter() - start:8.1f} s")
        size = sum(path.stat().st_size for path in files)
        print(f"all of its {len(files):>3} files             {size / 1e6:8.2f} MB")
        frames = sum(path.stat().st_size for path in files if path.name.endswith("-frames.js"))
        print(f"of that, frames of views        {frames / 1e6:8.2f} MB")
        program = find_browser()
        if program is None:
            print("no Chromium here: load times are not measured")
            return
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--headless=new", "--no-sandbox"])
            for path in (one for one in files if one.suffix == ".html"):
                print(f"ready: {path.name:<36} {opened(browser, path):5.2f} s")
            browser.close()


if __name__ == "__main__":
    sys.exit(main())
