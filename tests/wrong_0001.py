"""Plausible wrong answers to the newer exercises of notebooks 00 and 01, and right ones in another form."""


def both(mds, l1tf):
    return {"MDS": mds, "L1TF": l1tf}


def doing(**changed):
    return {"a": "l1tf", "b": "mmio_stale_data", "c": "rfds", "d": "mds", "e": "taa", **changed}


WRONG = {
    "00-1": [
        ("mds tsx_async_abort mmio_stale_data", "mds says “Not affected”"),
        ("tsx_async_abort mmio_stale_data", "what is switched off cannot leak"),
        ("taa mmio", "tsx_async_abort says “Mitigation: TSX disabled”"),
        ("mmio_stale_data l1tf", "l1tf says “Not affected”"),
        ("mmio_stale_data, rfds", "reg_file_data_sampling says"),
        ("tsx_async_abort", "what is switched off"),
        ("", "its file is not in your answer"),
        ([], "its file is not in your answer"),
        ("verw", "'verw' is none of the files"),
        ("mmio_stale", "is none of the files"),
        (None, "should be text"),
        (3, "should be text"),
        ([1], "should be text"),
        ({"mmio_stale_data": True}, "should be text"),
    ],
    "01-4": [
        (
            both("N", "N"),
            "with L1TF you get more than that. Of one value that you left out: it came behind the flush",
        ),
        (both("RN", "RN"), "with MDS you do not get R: VERW came after it"),
        (both("", "RN"), "with MDS you get more than that. Of one value that you left out: it passed after VERW"),
        (both("N", "KMRN"), "with L1TF you do not get K: the flush came after it"),
        (both("N", ""), "with L1TF you get more"),
        (both("KN", "RN"), "with MDS you do not get K: the flush came after it and emptied both"),
        (both("N", "R"), "with L1TF you get more"),
        (both("RN", "N"), "with MDS you do not get R"),
        (both("N", "RX"), "'X' is none of the letters K, M, R, N"),
        (both("N", None), "should be text"),
        (both("N", 3), "should be text"),
        ({"MDS": "N"}, "letters for each of two flaws"),
        ("N", "letters for each of two flaws"),
        (None, "letters for each of two flaws"),
    ],
    "01-5": [
        ("", "asked for by TAA, MMIO Stale Data"),
        ("tsx_async_abort=off", "asked for by MMIO Stale Data"),
        ("mds=off", "dropped unread"),
        ("mmio_stale_data=off", "asked for by TAA"),
        ("tsx_async_abort=off mmio_stale_data=off", "runs for nobody"),
        ("tsx=off mmio_stale_data=off", "runs for nobody"),
        ("tsx=on", "still runs at every VM-Enter"),
        ("taa=off", "taa=off is no option"),
        ("tsx", "still runs at every VM-Enter"),
        ("mitigations=off tsx=off", "runs for nobody"),
        (["tsx=off"], "should be text"),
        (None, "should be text"),
    ],
    "01-7": [
        (doing(a="mds"), "a was not mds: one flaw alone lets a guest choose"),
        (doing(b="mds"), "b was not mds: MDS is fixed and TSX is off"),
        (doing(b="taa"), "neither MDS nor TAA"),
        (doing(c="mds"), "one flaw is about registers"),
        (doing(d="l1tf"), "nobody chose an address"),
        (doing(d="taa"), "no transaction was there"),
        (doing(e="mmio_stale_data"), "what had the guest begun?"),
        (doing(e="mds"), "MDS is fixed, and there is no device"),
        (doing(c="tsa"), "c should be one of l1tf, mds, mmio_stale_data, rfds, taa"),
        (doing(c=None), "c should be one of"),
        ({"a": "l1tf"}, "a flaw for each of five letters"),
        ("l1tf mmio_stale_data rfds mds taa", "a flaw for each of five letters"),
        (None, "a flaw for each of five letters"),
    ],
    "01-6": [
        ("a", "both threads share buffers"),
        ("ab", "without the microcode it clears nothing"),
        ("ad", "both threads share buffers"),
        ("bd", "the handler's key comes behind the clear"),
        ("abcd", "c could not: with mitigations=off no clear runs"),
        ("abde", "e could not: what passed before VERW"),
        ("e", "one is missing. It could"),
        ("", "one is missing"),
        ("abx", "'x' is none of the letters"),
        (["a", 1], "should be text"),
        (None, "should be text"),
        (7, "should be text"),
    ],
}

RIGHT = {
    "00-1": ["MMIO_STALE_DATA", " mmio ", ["mmio_stale_data"], {"mmio"}],
    "01-4": [both("n", "nr"), both(["N"], ("N", "R")), both("N", "R, N"), {"L1TF": "NR", "MDS": {"N"}}],
    "01-5": ["tsx=auto", "tsx=off mds=off", "quiet tsx=on tsx=off", "tsx=no"],
    "01-7": [doing(b="MMIO", a=" L1TF "), doing(b="MMIO Stale Data", e="TAA")],
    "01-6": ["dba", "(a) (b) (d).", "A, B, D", ["a", "b", "d"], ("a", "bd")],
}
