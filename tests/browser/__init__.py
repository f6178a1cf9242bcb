"""Tests that open a real browser. A package, so that their names may repeat those of the tests beside it."""
