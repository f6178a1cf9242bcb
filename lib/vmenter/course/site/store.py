"""Frames as a page can carry them: each value stored once, a frame as a row of places in that store."""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

Row = list[int]


def key(*parts: Any) -> str:
    """Return what a frame is found by. The page makes the same text with JSON.stringify."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


class Store:
    """Values of frames. Frames of one view differ in few of their fields, so most are there already."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}
        self._seen: dict[int, tuple[Any, int]] = {}  # by identity: panels that frames share are not read again

    def place(self, value: Any) -> int:
        """Return where a value is, after storing it if it is new."""
        known = self._seen.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        text = json.dumps(value, ensure_ascii=False)
        place = self._places.setdefault(text, len(self.values))
        if place == len(self.values):
            self.values.append(value)
        self._seen[id(value)] = (value, place)
        return place

    def row(self, frame: Mapping[str, Any]) -> Row:
        """Return a frame as places: of the names of its fields, then of their values."""
        return [self.place(list(frame)), *(self.place(value) for value in frame.values())]


def packed(content: Any) -> str:
    """Return content for a page: JSON, compressed, in base64. The same content gives the same text."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
