"""Where notebooks, pictures and translations are: in the checkout, or, installed from a wheel, in the package."""

from pathlib import Path

_INSTALLED = Path(__file__).with_name("whole")  # lib/hatch_build.py puts them there
COURSE = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).resolve().parents[3]
