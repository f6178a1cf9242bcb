"""The rounds of LeakGame: what the host does, which flaw the guest has, and what is asked for. No answers here."""

from dataclasses import dataclass

from vmenter.emulator.leftovers import Deed, Fate, Flaw, Kind

VALUES = {
    "K": "a key of the host",
    "M": "a mail of another guest",
    "N": "a packet from the network",
    "P": "a password",
    "T": "a page-table entry",
    "R": "a register, saved on the stack",
}
TELLS = {
    Flaw.MDS: "You use MDS: you get what is in the buffers. You cannot choose whose, or which address.",
    Flaw.L1TF: "You use L1TF: you choose an address, and get it if its line is in the L1 data cache.",
}
WHY = {
    Fate.BUFFERED: "it is still in the buffers. Nothing emptied them since it passed, and nothing pushed it out.",
    Fate.CACHED: "its line is in the L1 data cache, and L1TF reads there.",
    Fate.UNTOUCHED: "the host did not touch it. It lies in memory alone, and neither flaw reaches that.",
    Fate.PUSHED_OUT: "too much passed after it. The buffers are few, and later values push out earlier ones.",
    Fate.VERW: "VERW emptied the buffers after it had passed.",
    Fate.FLUSHED: "the L1D flush took it out after it had passed.",
}


@dataclass(frozen=True)
class Round:
    """One round. `covered`: the learner does not see what is in the CPU until the answer is given."""

    title: str
    flaw: Flaw
    deeds: tuple[Deed, ...]
    asked: tuple[str, ...]
    lesson: str
    covered: bool = True


def load(name: str) -> Deed:
    """Return a load."""
    return Deed(Kind.LOAD, name)


def store(name: str) -> Deed:
    """Return a store."""
    return Deed(Kind.STORE, name)


VERW, FLUSH = Deed(Kind.VERW), Deed(Kind.FLUSH)
BUSY = (load("K"), load("M"), load("N"), store("T"), load("P"))

ROUNDS = (
    Round(
        "A first try",
        Flaw.MDS,
        (load("K"), store("M")),
        ("K", "M", "P"),
        "What passed is still there. Nobody has to make a mistake for that: loading and storing is enough.",
        covered=False,
    ),
    Round(
        "A busy host",
        Flaw.MDS,
        BUSY,
        ("K", "N", "P"),
        "So a guest gets what passed last. It enters again and again, and collects.",
        covered=False,
    ),
    Round(
        "The same host, another flaw",
        Flaw.L1TF,
        BUSY,
        ("K", "P", "R"),
        "The cache is far larger than the buffers, and keeps what the host touched long before.",
        covered=False,
    ),
    Round(
        "The host runs VERW",
        Flaw.MDS,
        (load("K"), store("M"), VERW),
        ("K", "M", "P"),
        "That is VERW's work: whatever passed before it is gone.",
    ),
    Round(
        "VERW again, the other flaw",
        Flaw.L1TF,
        (load("K"), store("M"), VERW),
        ("K", "M", "P"),
        "VERW empties buffers. It does not touch the cache, so it is no cure for L1TF.",
    ),
    Round(
        "The host flushes",
        Flaw.L1TF,
        (load("K"), store("M"), FLUSH),
        ("K", "M", "P"),
        "That is the flush's work. It costs more: the host must fetch all those lines again.",
    ),
    Round(
        "Something after VERW",
        Flaw.MDS,
        (load("K"), VERW, store("R")),
        ("K", "R", "M"),
        "A clear takes away what passed before it. What comes after it is there again; remember this one.",
    ),
    Round(
        "The flush again, the first flaw",
        Flaw.MDS,
        (load("K"), FLUSH, load("N")),
        ("K", "N", "P"),
        "The flush by that register empties the buffers, too; the kernel counts on it. So who has flushed needs "
        "no VERW at that door. Remember this one as well.",
    ),
)
