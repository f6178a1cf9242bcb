"""What a kernel decides for one of the lab's processors, as one line: for whom VERW runs."""

from dataclasses import dataclass, replace

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import Selection, select
from vmenter.story.promise import Verw, promise_of

KERNEL = "7.3.4"
WHO = {Verw.ALWAYS: "every guest", Verw.MMIO: "guests that reach MMIO", Verw.NEVER: "nobody"}


@dataclass(frozen=True)
class Decided:
    """A processor of the lab, by its name, boot options, a kernel, and what that kernel selects."""

    processor: str
    options: str
    kernel: str
    selection: Selection

    @property
    def who(self) -> str:
        """For whom VERW runs."""
        return WHO[promise_of(self.selection).verw]

    @property
    def runs(self) -> bool:
        """Whether VERW runs for anybody."""
        return promise_of(self.selection).verw is not Verw.NEVER

    def why(self, *subjects: str) -> str:
        """Return those links of the chain of reasons that are about `subjects`, a line each."""
        links = [link for link in self.selection.why if link.subject in subjects]
        return "\n".join(f"    {link.subject:<10} {link.outcome:<13} {link.reason}" for link in links)

    def __str__(self) -> str:
        return f"{self.processor:<30}{self.options:<26} VERW for {self.who}"


def decided(processor: str, options: str = "", kernel: str = KERNEL) -> Decided:
    """Decide as `kernel` does. Raises `LabError` for names it does not know."""
    if processor not in PRESETS:
        raise LabError(f"no processor is called {processor!r}; there are {', '.join(PRESETS)}")
    host = replace(PRESETS[processor].host, cmdline=options)
    return Decided(processor, options, kernel, select(host, kernel))
