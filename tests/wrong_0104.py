"""Plausible wrong answers to the exercises of notebooks 01 and 04, and what the checker must say of each."""


def host(bugs, facts):
    return {"bugs": bugs.split(), "facts": facts.split()}


def measured(*, clear=-1, clear_counts=False, enter_counts=False, own=False, none=True, accesses=True):
    """A distance function with one mistake."""

    def answer(trace):
        if none and not trace.clears:
            return None
        first = trace.clears[clear].step
        enter = len(trace.steps) - 1
        touched = sum(first - own < a.step < enter for a in trace.accesses) if accesses else 0
        return enter - first - 1 + clear_counts + enter_counts, touched

    return answer


ONE_LETTER = [("e", "one of the letters"), (["c"], "one of the letters")]

WRONG = {
    "01-1": [
        ("", "asked for by MDS, TAA, MMIO Stale Data"),
        ("mds=off tsx_async_abort=off", "asked for by MMIO Stale Data"),
        ("mds=off mmio_stale_data=off", "asked for by TAA"),
        ("mitigations=off", "the L1D flush has changed, too: it is 'never'"),
        ("mds=off tsx_async_abort=off mmio_stale_data=off l1tf=full", "it is 'always'"),
        ("mds=no", "mds=no had no effect"),
        ("mds=off taa=off mmio_stale_data=off", "taa=off is no option"),
        ("tsx=off mds=off mmio_stale_data=off", "without the TSX_CTRL register"),
        ("mds=off,tsx_async_abort=off,mmio_stale_data=off", "had no effect"),
        (["mds=off"], "should be text"),
    ],
    "01-2": [
        ("a", "without a word"),
        ("b", "Microcode only makes VERW clear"),
        ("d", "with mitigations=off it says"),
        ("z", "one of the letters"),
        *ONE_LETTER,
    ],
    "01-3": [
        (host("mds mmio_stale_data l1tf", "md_clear flush_l1d fb_clear"), "every guest: asked for by MDS"),
        (host("taa mmio_stale_data l1tf", "rtm mds_no tsx_ctrl_msr fb_clear"), "every guest: asked for by TAA"),
        (host("rfds mmio_stale_data l1tf", "rfds_clear fb_clear"), "every guest: asked for by RFDS"),
        (host("mmio_stale_data", "fb_clear"), "the CPU does not have L1TF"),
        (host("mmio_stale_data l1tf", "fb_clear skip_vmentry_l1dflush"), "flush is 'not required'"),
        (host("l1tf", "fb_clear"), "runs for nobody"),
        (host("mmio_stale_data l1tf", "mds_no"), "attempted, no microcode”: no FB_CLEAR"),
        (host("mmio_stale_data l1tf", "mds_no md_clear flush_l1d"), "attempted, no microcode"),
        (host("mmio l1tf", "fb_clear"), "unknown name 'mmio'"),
        ({"bugs": "l1tf", "facts": []}, "this is a string"),
        ("mmio_stale_data l1tf", "two lists"),
    ],
    "04-1": [
        ("e9 28 00 00 00", "counts from the end of the JMP"),
        ("e9 00 00 00 23", "wrong order"),
        ("eb 23", "these are 2"),
        ("e8 23 00 00 00", "one JMP of five bytes"),
        ("eb 23 90 90 90", "one JMP of five bytes"),
        ("e9 2c 00 00 00", "+9 bytes from the target"),
        ("jmp .Lflush", "five bytes as text"),
        (b"\xe9\x23\0\0\0", "five bytes as text"),
    ],
    "04-2": [
        ("a", "writes ZF, by the result"),
        ("c", "SUB writes ZF anew"),
        ("d", "JE looks at ZF, not at CF"),
        ("z", "one of the letters"),
        *ONE_LETTER,
    ],
    "04-3": [
        (measured(clear=0), "counts from the last one"),
        (measured(clear_counts=True), "neither the clear nor VM-Enter"),
        (measured(clear_counts=True, enter_counts=True), "neither the clear nor VM-Enter"),
        (measured(own=True), "looks at its selector"),
        (measured(none=False), "IndexError: tuple index out of range. Is there always a clear?"),
        (measured(accesses=False), "which accesses lie strictly between"),
        (lambda trace: measured()(trace) or (0, 0), "return None"),
        (lambda trace: None, "something did clear"),
        (lambda trace: tuple(trace.distance), "the counting is yours"),
        (lambda trace: 3, "should be (instructions, accesses)"),
        (lambda: (3, 1), "raises TypeError"),
        ((3, 1), "should be a function"),
    ],
}
