"""Many visitors of the static files at once, on loopback: `python tests/bench_visitors.py [VISITORS]`.

Each asks for what a first visit asks for, in that order, over a connection of its own, and reads it whole.
"""

import http.client
import statistics
import sys
import threading
import time

from tab.visit import serving

from vmenter.course.tab.build import OUTPUT, PACK, WORKER

VISITORS = 200


def visit(port, paths, times, wrong, begin):
    """Ask for all paths; note the seconds it took, or what went wrong."""
    begin.wait()
    start = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        for path in paths:
            connection.request("GET", f"/{path}", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, f"{path}: {answer.status}"
            assert content, f"{path} is empty"
        connection.close()
    except (OSError, AssertionError, http.client.HTTPException) as error:
        wrong.append(repr(error))
    else:
        times.append(time.perf_counter() - start)


def main():
    """Print the figures."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else VISITORS
    packed = next(OUTPUT.glob(PACK.format("*")), None)
    if packed is None:
        print("visitors are not measured: that needs `make tab`")
        return
    paths = ["", WORKER, packed.name, "lab/index.html"]
    times, wrong, begin = [], [], threading.Event()
    with serving() as address:
        port = int(address.rpartition(":")[2])
        threads = [threading.Thread(target=visit, args=(port, paths, times, wrong, begin)) for _ in range(number)]
        for thread in threads:
            thread.start()
        start = time.perf_counter()
        begin.set()
        for thread in threads:
            thread.join()
        whole = time.perf_counter() - start
    size = packed.stat().st_size / 1e6
    print(f"{number} visitors at once: {len(times)} served whole, {len(wrong)} not; {whole:.1f} s in all")
    if times:
        print(
            f"a visitor: median {statistics.median(times):.1f} s, slowest {max(times):.1f} s; {len(times) * size / whole:.0f} MB a second"
        )
    for text in wrong[:5]:
        print(text)


if __name__ == "__main__":
    main()
