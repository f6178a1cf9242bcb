"""The drawings of FirstMinute: one panel a VM-Enter, host above, buffers between, guest below.

A panel is SVG that takes its colours from the page's variables; `still` puts all panels into one picture that
stands alone, light or dark.
"""

from collections.abc import Sequence
from html import escape

WIDTH, ROW, TOP, STEP = 284, 22, 100, 25  # pixels; text is 12 high
SECRETS = tuple(f"S{number}" for number in range(1, 7))
WIDE, SLIM, GAP = 30, 17, 3  # of a secret, of another value, between them
LOOKS = """
.vm-first-panel text { fill: var(--vm-ink); font: 12px var(--vm-sans); }
.vm-first-panel .f-box { fill: none; stroke: var(--vm-line-strong); }
.vm-first-panel .f-slot { fill: none; stroke: var(--vm-line); stroke-dasharray: 3 3; }
.vm-first-panel .f-secret rect { fill: #b3400a; stroke: var(--vm-ink); stroke-width: 1.5; }
.vm-first-panel .f-secret text { fill: #ffffff; font-weight: 700; }
.vm-first-panel .f-other rect { fill: none; stroke: var(--vm-line-strong); }
.vm-first-panel .f-soft { fill: var(--vm-soft); }
.vm-first-panel .f-strong { font-weight: 700; }
.vm-first-panel .f-cure { stroke: #009e73; stroke-width: 4; }
.vm-first-panel .f-none { stroke: var(--vm-line-strong); stroke-width: 1.5; stroke-dasharray: 5 4; }
@media (forced-colors: active) {
  .vm-first-panel .f-secret rect { fill: Highlight; }
  .vm-first-panel .f-secret text { fill: HighlightText; }
}
""".strip()
LIGHT = "--vm-ink: #1b1f24; --vm-soft: #57606a; --vm-line: #d0d7de; --vm-line-strong: #6e7781; --vm-paper: #ffffff"
DARK = "--vm-ink: #e6edf3; --vm-soft: #a0a9b4; --vm-line: #30363d; --vm-line-strong: #8b949e; --vm-paper: #161b22"


def panel(entries: Sequence[Sequence[str]], size: int, ran: str, enters: str, reach: str) -> str:
    """Return one panel: what the entries hold, by letter, and what that means for the guest."""
    bottom = TOP + size * STEP
    parts = [
        _text(8, 16, "Host", "f-strong"),
        _text(48, 16, "six registers with secrets", "f-soft"),
        _chips(8, 26, SECRETS),
        _text(8, 74, "↓ its loads and stores pass through"),
        f'<rect class="f-box" x="1" y="{TOP - 16}" width="{WIDTH - 2}" height="{size * STEP + 20}" rx="6"/>',
    ]
    for at in range(size):
        y = TOP + at * STEP - 8
        parts.append(f'<rect class="f-slot" x="7" y="{y}" width="{WIDTH - 14}" height="{ROW}" rx="3"/>')
        if at < len(entries):
            parts.append(_chips(10, y + 2, entries[at]))
    kind = "f-none" if ran.startswith("no") else "f-cure"
    parts += [
        f'<line class="{kind}" x1="1" x2="{WIDTH - 1}" y1="{bottom + 18}" y2="{bottom + 18}"/>',
        _text(8, bottom + 38, f"{ran}, then {enters} ↓", "f-strong"),
        _text(8, bottom + 62, "Guest", "f-strong"),
        _text(54, bottom + 62, reach),
    ]
    height = bottom + 72
    label = f"Buffers at VM-Enter: {'; '.join(map(' '.join, entries)) or 'empty'}. {ran}; {reach}."
    return (
        f'<svg class="vm-first-panel" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(label)}"><style>{LOOKS}</style>{"".join(parts)}</svg>'
    )


def still(titles: Sequence[str], panels: Sequence[str], note: str) -> str:
    """Return all panels side by side, as one picture that needs nothing else."""
    height = int(panels[0].partition('height="')[2].partition('"')[0]) + 64
    parts = []
    for at, (title, drawn) in enumerate(zip(titles, panels, strict=True)):
        x = 16 + at * (WIDTH + 24)
        parts.append(_text(x, 28, f"{at + 1}. {title}", "f-strong"))
        parts.append(drawn.replace("<svg ", f'<svg x="{x}" y="40" ', 1))
    width = 16 + len(panels) * (WIDTH + 24)
    parts.append(_text(16, height - 8, note, "f-soft"))
    style = (
        f"svg {{ {LIGHT}; --vm-sans: system-ui, sans-serif }}\n"
        "text { fill: var(--vm-ink); font: 14px var(--vm-sans) } .f-strong { font-weight: 700 }\n"
        f"@media (prefers-color-scheme: dark) {{ svg {{ {DARK} }} }}"
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
        f'<style>{style}</style><rect width="100%" height="100%" fill="var(--vm-paper)"/>{"".join(parts)}</svg>'
    )


def _chips(x: int, y: int, marks: Sequence[str]) -> str:
    parts = []
    for mark in marks:
        secret = mark.startswith("S")
        wide = WIDE if secret else SLIM
        parts.append(
            f'<g class="{"f-secret" if secret else "f-other"}">'
            f'<rect class="shape" x="{x}" y="{y}" width="{wide}" height="18" rx="3"/>'
            f'<text x="{x + wide / 2:g}" y="{y + 13}" text-anchor="middle">{mark}</text></g>'
        )
        x += wide + GAP
    return "".join(parts)


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'
