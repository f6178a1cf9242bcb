"""What a cell gives in the tab, beside what is committed: the differences that nbval allows, and no others."""

import configparser
import re

from places import ROOT

WIDGET = "application/vnd.jupyter.widget-view+json"

# The one cell that may differ, by its notebook and id: doctor's, which tells what works where it runs.
OWN = ("00-start-here", "cell-12")


def _rules():
    read = configparser.ConfigParser(interpolation=None)
    read.read(ROOT / "tests" / "nbval.cfg", encoding="utf-8")
    return [(re.compile(one["regex"]), one["replace"]) for one in (read[name] for name in read.sections())]


RULES = _rules()


def _same(text):
    for form, put in RULES:
        text = form.sub(put, text)
    return text.strip()


def shown(outputs):
    """Return outputs as plain data to compare: streams joined by name, every form of each result but the widget's."""
    found, streams = [], {}
    for one in outputs:
        if one["output_type"] == "stream":
            if one["name"] not in streams:
                streams[one["name"]] = {"stream": one["name"], "text": ""}
                found.append(streams[one["name"]])
            streams[one["name"]]["text"] += one["text"]
        elif one["output_type"] == "error":
            found.append({"error": one["ename"], "text": one["evalue"]})
        else:
            data = {
                kind: text if isinstance(text, str) else "".join(text)
                for kind, text in one["data"].items()
                if kind != WIDGET
            }
            found.append({kind: _same(text) for kind, text in data.items()})
    return [{key: _same(text) for key, text in one.items()} for one in found]


def same(given, committed):
    """Whether a cell gave what is committed."""
    return shown(given) == shown(committed)
