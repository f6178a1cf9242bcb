"""Plausible wrong answers to the exercises of notebooks 01 and 04, and what the checker must say of each."""

from answers import cell

from vmenter.course.exercises import exercise


def host(bugs, facts):
    return {"bugs": bugs.split(), "facts": facts.split()}


SOLUTION = exercise("04-3").solution


def measured(*changes):
    """The right distance function with something wrong, as text; each (old, new) must fit just once."""
    text = SOLUTION
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def function(body):
    return f"def answer(trace):\n    {body}"


ONE_LETTER = [("e", "one of the letters"), (["c", "d"], "one of the letters")]

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
        ({"bugs": "l1tf", "facts": []}, "VERW runs for nobody"),
        ({"bugs": 5, "facts": []}, "give a list of names"),
        ("mmio_stale_data l1tf", "a list for each of 'bugs', 'facts'"),
    ],
    "04-1": [
        ("e9 28 00 00 00", "counts from the end of the JMP"),
        (
            "e9 00 00 00 23",
            "leads to 0x33000009, +587202525 bytes from the target. Are the bytes in the wrong order",
        ),
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
        (measured(("clears[-1]", "clears[0]")), "counts from the last one"),
        (measured(("enter - clear - 1", "enter - clear")), "neither the clear nor VM-Enter"),
        (measured(("enter - clear - 1", "enter - clear + 1")), "neither the clear nor VM-Enter"),
        (measured(("clear < access", "clear <= access")), "looks at its selector"),
        (
            measured(("    if not trace.clears:\n        return None\n", "")),
            "(nothing clears). Is there always a clear?",
        ),
        (
            measured(("return enter - clear - 1, len(accesses)", "return enter - clear - 1, 0")),
            "lie strictly between",
        ),
        (measured(("return None", "return 0, 0")), "return None"),
        (measured(("return None", "return False")), "should return a pair of numbers, or None"),
        (measured(("len(accesses)", "len(set(accesses)) - 1")), "which accesses lie strictly between"),
        (measured(("trace.clears[-1].step", "trace.clears[len(trace.clears) // 3].step")), "Two clears ran"),
        (
            measured(("clear < access.step", "clear < access.step and not access.write")),
            "The instructions are right",
        ),
        (
            measured(("clear < access.step", "access.owner == 'vCPU' and clear < access.step")),
            "lie strictly between",
        ),
        (measured(("len(trace.steps) - 1", "len(trace.steps)")), "neither the clear nor VM-Enter"),
        (measured(("len(trace.steps) - 1", "trace.events[-1].step - 1")), "strictly between the last clear"),
        (
            function("return {11: (3, 1)}.get(len(trace.steps), (1, 0)) if trace.clears else None"),
            "your function says",
        ),
        (function("return None"), "something did clear"),
        (function("return tuple(trace.distance)"), "the counting is yours"),
        (function("return 3"), "It should be (instructions, accesses)"),
        (function("return 3, 1, 0"), "It should be (instructions, accesses)"),
        (function("while True: pass"), "a loop without an end?"),
        ("def answer():\n    return 3, 1", "TypeError"),
        (lambda trace: None, "it is a lambda"),
        ((3, 1), "should be the function"),
    ],
}

RIGHT = {
    "01-1": ["mitigations=off l1tf=flush", "mmio_stale_data=off tsx_async_abort=off mds=off"],
    "01-2": ["C", " c. ", "(c)"],
    "01-3": [
        host("l1tf mmio_stale_data", "fb_clear"),
        {"bugs": ("l1tf", "mmio_stale_data"), "facts": {"md_clear", "flush_l1d"}},
    ],
    "04-1": ["E9 23 00 00 00", "e923000000"],
    "04-2": ["B", "b)"],
    "04-3": [
        function(
            "last = max((c.step for c in trace.clears), default=None)\n"
            "    if last is None:\n        return None\n"
            "    end = len(trace.steps) - 1\n"
            "    return [end - last - 1, sum(last < a.step for a in trace.accesses)]"
        ),
        cell(
            "def between(first, last, things):\n    return [t for t in things if first < t < last]\n"
            "def distance(trace):\n    if trace.clears:\n        a, b = trace.clears[-1].step, len(trace.steps) - 1\n"
            "        return len(between(a, b, range(b))), len(between(a, b, (x.step for x in trace.accesses)))\n"
            "answer = distance"
        ),
    ],
}
