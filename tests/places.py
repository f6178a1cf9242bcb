"""Where things are in the checkout."""

from pathlib import Path

TESTS = Path(__file__).parent
DATA = TESTS / "data"
ROOT = TESTS.parent
NOTEBOOKS = ROOT / "notebooks"
