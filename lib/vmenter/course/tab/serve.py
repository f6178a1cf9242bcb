"""`make tab-serve`: the tab's folder on loopback, packed on the way as a web server would."""

import argparse
import gzip
import sys
from functools import lru_cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from vmenter.course.tab.build import OUTPUT

PORT = 8000
TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".ipynb": "application/json",
}
PACKED = {".html", ".css", ".js", ".mjs", ".json", ".wasm", ".svg", ".ipynb", ".md"}


class Server(ThreadingHTTPServer):
    """Many visitors may come at once."""

    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of visitors who leave before all has come."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(SimpleHTTPRequestHandler):
    """Static files, gzipped where that helps, with the types that a browser wants."""

    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012

    def do_GET(self) -> None:
        """Send a file; packed, if that is of use and asked for."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() and self.path.split("?")[0].endswith("/") else path
        if (
            path.suffix not in PACKED
            or not path.is_file()
            or "gzip" not in self.headers.get("Accept-Encoding", "")
        ):
            super().do_GET()
            return
        content = packed(path, path.stat().st_mtime_ns)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        """Have the browser ask each time whether a file is still the same."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@lru_cache(maxsize=2000)
def packed(path: Path, _changed: int) -> bytes:
    """Return a file's content, gzipped."""
    return gzip.compress(path.read_bytes(), 6, mtime=0)


def server(folder: Path, port: int = 0, handler: type[Handler] = Handler) -> Server:
    """Return a server of a folder on loopback that is to be run; port 0: any that is free."""
    return Server(("127.0.0.1", port), partial(handler, directory=str(folder)))


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="make tab-serve", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("folder", type=Path, nargs="?", default=OUTPUT)
    chosen = parser.parse_args()
    if not (chosen.folder / "index.html").is_file():
        sys.exit(f"{chosen.folder}: the tab is not built; make tab")
    with server(chosen.folder, chosen.port) as serving:
        print(f"http://127.0.0.1:{chosen.port}/  (Ctrl-C ends it)", flush=True)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
