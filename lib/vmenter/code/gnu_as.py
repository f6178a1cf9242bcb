"""GNU as in a browser's tab: a program of its own in WebAssembly, started anew for each text (.tab/as).

What bounds it: it may take 256 MiB, and write no more than the lab takes. Nothing can stop it while it runs, as
nothing runs beside it in its worker: where a text keeps it busy and fills no memory, the kernel must be restarted.
"""

from functools import cache
from pathlib import Path
from typing import Any

from vmenter.code.browser import function, javascript, module, part


def run(data: bytes, include: Path | None, most: int) -> tuple[int, bytes, str]:
    """Assemble a text: exit status, the object of at most `most` bytes, and the messages.

    `include` is where ``.include`` looks.
    """
    status, output, messages = _program(include, most)(javascript(data))
    return int(status), b"" if output is None else output.to_bytes(), str(messages)


@cache
def _program(include: Path | None, most: int) -> Any:
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    texts = include.glob("*.[iS]*") if include else ()
    files = {file.name: file.read_bytes() for file in texts}
    return function(script)(part("as.js").decode(), module("as.wasm"), javascript(files), most)
