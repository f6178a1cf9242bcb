"""Drawings that slides and handouts have made anew: one function of an era, one site patched."""

from vmenter.code import image
from vmenter.emulator.memory import LAB_BASE
from vmenter.flow import recover
from vmenter.story.history import era
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.flowchart import draw
from vmenter.views.patch.still import picture
from vmenter.views.patch.widget import PatchBench


def part(id_: str, function: str) -> Diagram:
    """Draw one function of an era, with all that can stand at its sites. `LabError` if there is none such."""
    return draw(recover.graph(image.from_bytes(era(id_).object, id_, LAB_BASE), function, variants=True))


def bench(sample: str, features: str) -> Diagram:
    """Draw the last step of patching a site of the lab; `features`: names with blanks between."""
    return picture(PatchBench(sample=sample, features=features.split()).frame, None)
