"""The still picture of LeakGame: host, CPU and guest, and which way data goes. It stands alone, light or dark."""

from collections.abc import Sequence
from html import escape

LIGHT = "--ink: #1b1f24; --soft: #57606a; --line: #6e7781; --paper: #ffffff"
DARK = "--ink: #e6edf3; --soft: #a0a9b4; --line: #8b949e; --paper: #161b22"
LOOKS = """
text { fill: var(--ink); font: 14px system-ui, sans-serif; }
.soft { fill: var(--soft); font-size: 13px; }
.strong { font-weight: 700; }
.box { fill: none; stroke: var(--line); stroke-width: 1.2; }
.in { fill: none; stroke: #0072b2; stroke-width: 1.6; }
.out { fill: none; stroke: #d55e00; stroke-width: 1.6; stroke-dasharray: 6 4; }
""".strip()


def still(deeds: Sequence[str], buffers: Sequence[str], cache: Sequence[str], entries: int) -> str:
    """Return the picture after the host's deeds: what is in the buffers and in the L1 data cache."""
    slots = [*buffers, *[""] * (entries - len(buffers))]
    parts = [
        _box(10, 40, 300, 210),
        _text(22, 64, "Host", "strong"),
        *(_text(22, 96 + 24 * at, f"{at + 1}. {text}") for at, text in enumerate(deeds)),
        _text(22, 236, "then VM-Enter", "soft"),
        _box(370, 40, 320, 210),
        _text(384, 64, "CPU (a model)", "strong"),
        _text(384, 96, "buffers: store buffer, fill buffers, load ports", "soft"),
        *(_slot(384 + 66 * at, 106, name) for at, name in enumerate(slots)),
        _text(384, 172, "L1 data cache", "soft"),
        *(_slot(384 + 66 * at, 182, name) for at, name in enumerate([*cache, *[""] * (4 - len(cache))][:4])),
        _box(760, 40, 180, 210),
        _text(774, 64, "Guest: you", "strong"),
        _text(774, 126, "MDS reads here"),
        _text(774, 202, "L1TF reads here"),
        _arrow("in", 310, 120, 376, 120),
        _arrow("in", 310, 196, 376, 196),
        _arrow("out", 690, 121, 766, 121),
        _arrow("out", 690, 197, 766, 197),
    ]
    style = f"svg {{ {LIGHT} }}\n{LOOKS}\n@media (prefers-color-scheme: dark) {{ svg {{ {DARK} }} }}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 950 270" width="950" height="270">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="var(--paper)"/>{"".join(parts)}</svg>'
    )


def _box(x: int, y: int, width: int, height: int) -> str:
    return f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'


def _slot(x: int, y: int, name: str) -> str:
    return (
        f'<rect class="box" x="{x}" y="{y}" width="58" height="28" rx="4"/>{_text(x + 24, y + 19, name, "strong")}'
    )


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'


def _arrow(kind: str, x: int, y: int, to_x: int, to_y: int) -> str:
    return f'<path class="{kind}" d="M{x} {y} L{to_x} {to_y} m-7 -5 l7 5 l-7 5"/>'
