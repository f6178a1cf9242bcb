"""What a cell gives in the tab, beside what is committed: the differences that nbval allows, and no others."""

import configparser
import json
import re

from places import ROOT

WIDGET = "application/vnd.jupyter.widget-view+json"

# Cells that print where data of a text just assembled lies: GNU as lays .data before the sections that the text names,
# LLVM as they come, so that the tab's addresses differ by some bytes. All else in them is compared.
PLACED = {("05-2019-else-if", "cell-34"), ("06-2024-closer-to-the-edge", "cell-24")}
_PLACE = re.compile(r"(?<=host data )0x\w+|0x\w+(?=\(%rip\))")


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


def same(name, cell, given, committed):
    """Whether a notebook's cell gave what is committed."""
    sides = [json.dumps(shown(one), sort_keys=True) for one in (given, committed)]
    if (name, cell) in PLACED:
        sides = [_PLACE.sub("place", one) for one in sides]
    return sides[0] == sides[1]
