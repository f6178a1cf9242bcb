"""The commits and mails that the course speaks of: who wrote each, when, and the first release that has it.

Each row was read in what it names: a commit by its hash in the kernel's tree, a mail by its id in the public list
archive. What the course says of one beside its hash or id, in prose or in `history`, is held against this table by
the tests. What nobody needs to say here is left out: an empty field is "not told", never a guess.
"""

from typing import NamedTuple


class Cited(NamedTuple):
    """A commit or a mail. A date is an ISO day or, where only that is told, a month; its kind stands first."""

    ref: str
    people: tuple[str, ...] = ()  # who wrote it
    release: str | None = None  # the first of Linus's with it; None for a mail
    dates: tuple[tuple[str, str], ...] = ()  # ("posted", "2025-05-22")
    others: tuple[str, ...] = ()  # whose part in it the course tells, too


BONZINI, GLEIXNER, STANGE, ZIJLSTRA = "Paolo Bonzini", "Thomas Gleixner", "Nicolai Stange", "Peter Zijlstra"
GUPTA, CHRISTOPHERSON, PETKOV = "Pawan Gupta", "Sean Christopherson", "Borislav Petkov"
JACKMAN, POIMBOEUF, GROSS, PHILLIPS = "Brendan Jackman", "Josh Poimboeuf", "Juergen Gross", "Kim Phillips"
LEITAO = "Breno Leitao"

COMMITS = {
    one.ref: one
    for one in (
        # The flag per CPU is Nicolai Stange's; the flush it decides about is Paolo Bonzini's.
        Cited("45b575c00d8e", (STANGE,), "v4.19", (("public", "2018-08-14"),), (BONZINI,)),
        Cited("5b76a3cff011", (BONZINI,)),
        Cited("650b68a0622f", (GLEIXNER,), "v5.2", (("authored", "2019-02"), ("public", "2019-05-14"))),
        Cited("1b42f017415b", (GUPTA,), "v5.4", (("public", "2019-11"),)),
        Cited("23c1ad538f4f", release="v5.13"),
        Cited("a89dfde3dc3c", release="v5.13"),
        Cited("8cb861e9e3c9", (GUPTA,), "v5.19", (("authored", "2022-05"), ("public", "2022-06-14"))),
        Cited("027bbb884be0", release="v5.19"),
        Cited("8bd200d23ec4", release="v5.19"),
        Cited("5d1dd961e743", release="v6.3"),
        Cited("da3db168fb67", release="v6.4"),
        Cited("270a69c4485d", (ZIJLSTRA,), "v6.5"),
        Cited("6becb5026b81", (ZIJLSTRA,), "v6.5"),
        Cited("6613d82e617d", (GUPTA,), "v6.8", (("posted", "2024-02-13"),)),
        Cited("706a189dcf74", (CHRISTOPHERSON,), "v6.8", (("posted", "2024-02-13"),)),
        Cited("43fb862de8f6", (GUPTA,), "v6.8", (("posted", "2024-02-13"), ("committed", "2024-02-19"))),
        Cited("4e42765d1be0", (GUPTA,), "v6.9"),
        Cited("d8010d4ba43e", (PETKOV, PHILLIPS), "v6.16", (("public", "2025-07-08"),)),
        Cited("83ebe7157483", (CHRISTOPHERSON,), "v6.17", (("posted", "2025-05-22"), ("committed", "2025-06-25"))),
        Cited("844afc1af3a9", release="v6.19", dates=(("applied", "2025-11-21"),)),
        Cited("f6106d41ec84", release="v6.19", dates=(("applied", "2025-11-21"),)),
        Cited("05bd63959a9d", release="v6.19", dates=(("applied", "2025-11-21"),)),
        Cited("38ee66cb1845", release="v6.19", dates=(("applied", "2025-11-21"),)),
        Cited("e6ff1d61de51", (CHRISTOPHERSON,), "v6.19", (("posted", "2025-11-13"), ("applied", "2025-11-21"))),
        Cited("a4233c21e773", (GROSS,), "v7.0", (("committed", "2026-01-05"),)),
    )
}
"""Hash, of twelve digits → commit, in the order of the releases."""


def _mail(ref: str, who: str | None = None, day: str | None = None, *others: str) -> Cited:
    return Cited(ref, (who,) if who else (), None, (("posted", day),) if day else (), others)


MAILS = {
    one.ref: one
    for one in (
        _mail("20230208171431.253636689@infradead.org", ZIJLSTRA, "2023-02-08"),
        # Pawan Gupta's answer; it quotes what Sean Christopherson had seen.
        _mail("20231026204810.chvljddk6noxsuqi@desk", GUPTA, "2023-10-26", CHRISTOPHERSON),
        _mail("20231027-delay-verw-v4-6-9a3622d4bcf7@linux.intel.com", GUPTA, "2023-10-27"),
        _mail("20231201200247.vui6enzdj5nzctf4@treble", POIMBOEUF, "2023-12-01"),
        _mail("ZaAbGWFEfUt1PX66@google.com", CHRISTOPHERSON),
        _mail("20240213-delay-verw-v8-5-a6216d83edb7@linux.intel.com", GUPTA, "2024-02-13", CHRISTOPHERSON),
        _mail("20240213-delay-verw-v8-6-a6216d83edb7@linux.intel.com", GUPTA, "2024-02-13"),
        _mail("20240304-delay-verw-backport-6-1-y-v2-0-bf4bce517d60@linux.intel.com", GUPTA, "2024-03-04"),
        _mail("20240729164105.554296-5-leitao@debian.org", LEITAO, "2024-07-29"),
        _mail("20250523011756.3243624-4-seanjc@google.com", CHRISTOPHERSON, "2025-05-22"),
        _mail("20250708162240.993483371@linuxfoundation.org", None, "2025-07-08"),
        _mail("20251016200417.97003-2-seanjc@google.com", CHRISTOPHERSON, "2025-10-16"),
        _mail("DDO1FFOJKSTK.3LSOUFU5RM6PD@google.com", JACKMAN),
        _mail("20251022012021.sbymuvzzvx4qeztf@desk", GUPTA),
        _mail("20251028004928.muga5w3ix5dryyt2@desk", GUPTA),
        _mail("20251029-verw-vm-v1-1-babf9b961519@linux.intel.com", GUPTA, "2025-10-29"),
        _mail("20251029-verw-vm-v1-3-babf9b961519@linux.intel.com", GUPTA, "2025-10-29"),
        _mail("aQONEWlBwFCXx3o6@google.com", CHRISTOPHERSON, "2025-10-30", JACKMAN),
        _mail("20251030175435.afooenvymwpv5c2b@desk", GUPTA, "2025-10-30"),
        _mail("20251031003040.3491385-1-seanjc@google.com", CHRISTOPHERSON, "2025-10-30"),
        _mail("20251031003040.3491385-2-seanjc@google.com", CHRISTOPHERSON, "2025-10-30"),
        # Version 4, 4/8, the patch of 07: the idea is Pawan Gupta's, and so is the review.
        Cited(
            "20251031003040.3491385-5-seanjc@google.com",
            (CHRISTOPHERSON,),
            dates=(("posted", "2025-10-30"), ("reviewed", "2025-11-03")),
            others=(GUPTA,),
        ),
        _mail("DDWIDCO0UKMD.2C46H6XQO1NXK@google.com", JACKMAN, "2025-10-31"),
        _mail("DDWH24WOQG3F.1VS7MT0SKPWIL@google.com", JACKMAN),
        _mail("20251031235524.cuwrx4qys46xnpjr@desk", GUPTA, "2025-10-31"),
        _mail("20251101014644.7hys77jw64ynewwu@desk", GUPTA),
        _mail("20251103091749.GW3245006@noisy.programming.kicks-ass.net", ZIJLSTRA, "2025-11-03"),
        _mail("20251103174608.lfghes3daaxvejxj@desk", GUPTA, "2025-11-03"),
        _mail("20251112144655.GZaRSd32GC0lZdDOWg@fat_crate.local", PETKOV, "2025-11-12"),
        _mail("20251112183836.GBaRTULLaMWA5hkfT9@fat_crate.local", PETKOV, "2025-11-12"),
        _mail("aRTubGCENf2oypeL@google.com", CHRISTOPHERSON, "2025-11-12"),
        _mail("20251113233746.1703361-1-seanjc@google.com", CHRISTOPHERSON, "2025-11-13"),
        _mail("20251113233746.1703361-6-seanjc@google.com", CHRISTOPHERSON, "2025-11-13"),
        _mail("20251113233746.1703361-9-seanjc@google.com", CHRISTOPHERSON, "2025-11-13"),
        _mail("176375130260.290408.7905795529465965518.b4-ty@google.com", CHRISTOPHERSON, "2025-11-21"),
    )
}
"""Message id → mail, in the order of the days."""
