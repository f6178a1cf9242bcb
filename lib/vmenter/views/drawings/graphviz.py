"""DOT text to SVG by Graphviz: native, out of pygraphviz's wheel, or in a browser's tab as WebAssembly."""

from functools import cache
from typing import Any

from vmenter import LabError, in_browser
from vmenter.code.browser import function, module, part

# npm's @hpcc-js/wasm-graphviz, with its waiting cut out (.tab/take.mjs). What Graphviz says goes with the error.
_SCRIPT = """
(text, compiled) => {
  const graphviz = new Function(`${text}; return ${text.match(/^function ([\\w$]+)/)[1]}`)()({compiled});
  return (dot) => {
    const one = new graphviz.CGraphviz(0, 0);
    try {
      const svg = one.layout(dot, "svg", "dot");
      return svg ? [svg, ""] : ["", graphviz.CGraphviz.lastError() || "it does not say why"];
    } catch (error) {
      return ["", graphviz.CGraphviz.lastError() || String(error)];
    } finally {
      one.delete();
    }
  };
}
"""


def draw(dot: str) -> str:
    """Lay out DOT text. Raises `LabError` with Graphviz's reason if it cannot."""
    return _in_tab(dot) if in_browser() else _native(dot)


def _native(dot: str) -> str:
    import pygraphviz  # noqa: PLC0415  (slow to import, not always needed)

    try:
        drawn: bytes = pygraphviz.AGraph(string=dot).draw(format="svg", prog="dot")
    except (ValueError, AttributeError, OSError) as error:
        raise _refused(str(error)) from None
    return drawn.decode()


def _in_tab(dot: str) -> str:
    drawn, why = _graphviz()(dot)
    if why:
        raise _refused(str(why))
    return str(drawn)


@cache
def _graphviz() -> Any:
    return function(_SCRIPT)(part("graphviz.js").decode(), module("graphviz.wasm"))


def _refused(why: str) -> LabError:
    return LabError(f"Graphviz cannot lay this out: {' '.join(why.split())}")
