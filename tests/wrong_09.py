"""Plausible wrong answers to the exercises of notebook 09, and the reason that must be given for each."""

from answers import cell

from vmenter.course.exercises import exercise

PLACES = cell(exercise("09-1").solution)
VERDICT = exercise("09-2").solution.partition("\n\n\nanswer")[0]


def verdict(old, new):
    """The right function with something wrong, as text; the change must fit just once."""
    assert VERDICT.count(old) == 1, old
    return VERDICT.replace(old, new)


OWED = '"VM" in features.split() or (features == "MMIO" and reaches_mmio)'

WRONG = {
    "09-1": [
        ({**PLACES, "6.12.117": ("stub", "stub")}, "6.12.117, mapped: 'stub' is not right. Look: the stub asks for CLEAR_CPU_BUF"),
        ({**PLACES, "6.12.117": ("C", "C")}, "6.12.117, mapped: 'C' is not right. Look: the stub asks"),
        ({**PLACES, "5.10.262": ("C", "C")}, "asks for: assigned device"),
        ({**PLACES, "6.1.192": ("nowhere", "nowhere")}, "mmio_stale_data_clear, which is on"),
        ({**PLACES, "6.18.15": ("nowhere", "C")}, "asks for: MMIO run flag"),
        ({**PLACES, "7.3.4": ("nowhere", "stub")}, "boot selects CLEAR_CPU_BUF_VM_MMIO there"),
        ({**PLACES, "7.3.4": ("stub", "C")}, "7.3.4, assigned: 'C' is not right"),
        ({**PLACES, "7.3.4": ("stub",)}, "7.3.4: give two words"),
        ({**PLACES, "7.3.4": "stub"}, "7.3.4: give two words"),
        ({**PLACES, "7.3.4": ("stub", "kernel")}, 'each "stub" or "C" or "nowhere"'),
        ({"7.3.4": ("stub", "stub")}, "answer should be a dict with 5.10.262"),
        (None, "answer should be a dict"),
    ],
    "09-2": [
        (verdict("in_c or ", ""), "The stub is right, but C clears as well."),
        (verdict("cleared != owed", "owed and not cleared"), "With MMIO on, a guest without MMIO is entered with a clear."),
        (verdict("cleared != owed", "cleared and not owed"), "is entered without a clear"),
        (verdict(OWED, '"VM" in features.split() or features == "MMIO"'), "One of them (such is 7.3.4)"),
        (verdict(OWED, '"VM" in features.split() or ("MMIO" in features and not reaches_mmio)'), "One of them (such is 7.3.4)"),
        (verdict(OWED, 'features == "VM" or ("MMIO" in features and reaches_mmio)'), "One of them (such is 7.3.4)"),
        (verdict('!= {"", "VM", "MMIO", "VM MMIO"}', '== {""}'), "It knows no feature for MMIO"),
        (verdict("    return True", "    return not True"), "That is how 6.19 clears, row by row."),
        ("def clears_as_6_19(rows, in_c):\n    return True", "543 of 544 answers are wrong"),
        ("def clears_as_6_19(rows, in_c):\n    return False", "1 of 544 answers are wrong. One of them (such is 7.3.4)"),
        ("def clears_as_6_19(rows, in_c):\n    return rows[-1][2] and not in_c", "It knows no feature for MMIO"),
        (verdict("        if cleared != owed:\n            return False\n    return True", "        pass"), "Is a return missing"),
        (verdict("features, reaches_mmio, cleared in", "features, cleared in"), "too many values to unpack"),
        ("def clears_as_6_19(rows, in_c):\n    while True:\n        pass", "a loop without an end?"),
        ("def clears_as_6_19(rows, in_c)\n    return True", "expected ':'"),
        (True, "made with def; it is a bool"),
    ],
}  # fmt: skip

RIGHT = {
    "09-1": [
        {release: [place.upper() for place in places] for release, places in PLACES.items()},
        dict(reversed(PLACES.items())),
    ],
    "09-2": [
        "def mine(rows, in_c):\n    return not in_c and set(rows) == {(on, mmio, 'VM' in on.split() or (on == 'MMIO' and mmio))"
        " for on in ('', 'VM', 'MMIO', 'VM MMIO') for mmio in (False, True)}",
        "def mine(rows, in_c):\n    wish = (('', False, False), ('', True, False), ('VM', False, True), ('VM', True, True),"
        " ('MMIO', False, False), ('MMIO', True, True), ('VM MMIO', False, True), ('VM MMIO', True, True))\n"
        "    return sorted(rows) == sorted(wish) and not in_c",
        "def mine(rows, in_c):\n    return not in_c and len(rows) == 8 and all(right(*row) for row in rows)\n\n"
        "def right(on, mmio, did):\n    return did is {'': False, 'MMIO': mmio}.get(on, True)",
    ],
}

MUTANT = {"module": "b", "features": ["CLEAR_CPU_BUF_VM_MMIO"], "mmio": True, "resume": False}
SAYS = cell(exercise("09-4").solution)

WRONG |= {
    "09-3": [
        ({**MUTANT, "module": "a"}, "have you run all of them, in all three?"),
        ({**MUTANT, "module": "c"}, "module c executes VERW 1 time, and a clear is owed: as it should be"),
        ({**MUTANT, "resume": True}, "module b executes VERW 1 time, and a clear is owed: as it should be"),
        ({**MUTANT, "mmio": False}, "module b executes no VERW, and none is owed: as it should be"),
        ({**MUTANT, "features": []}, "executes no VERW, and none is owed"),
        ({**MUTANT, "features": ["CLEAR_CPU_BUF_VM"]}, "executes VERW 1 time, and a clear is owed"),
        ({**MUTANT, "features": ["CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"]}, "executes VERW 1 time"),
        ({**MUTANT, "features": ["CLEAR_CPU_BUF"]}, "no stub here asks for CLEAR_CPU_BUF"),
        ({**MUTANT, "features": {"CLEAR_CPU_BUF_VM_MMIO": True}}, "features should be a list of names"),
        ({**MUTANT, "module": "d"}, "module should be one of a, b, c"),
        ({**MUTANT, "module": 2}, "module should be one of a, b, c"),
        ({**MUTANT, "mmio": 2}, "should be True or False"),
        ({"module": "b"}, "a dict with module, features, mmio, resume"),
        ("b", "a dict with module"),
    ],
    "09-4": [
        ({**SAYS, "mds": "no"}, "every row with CLEAR_CPU_BUF on"),
        ({**SAYS, "mapped": "no"}, "A mapped page sets the run flag"),
        ({**SAYS, "mapped": "not told"}, "A mapped page sets the run flag"),
        ({**SAYS, "cond": "yes"}, "has an “unless”"),
        ({**SAYS, "cond": "not told"}, "has an “unless”"),
        ({**SAYS, "selected": "yes"}, "a module is the same on every server"),
        ({**SAYS, "effective": "no"}, "executed is not effective"),
        ({**SAYS, "ran": "yes"}, "pieces of a file"),
        ({**SAYS, "ran": "not told"}, "pieces of a file"),
        ({**SAYS, "ran": "maybe"}, 'ran: answer "yes", "no" or "not told"'),
        ({**SAYS, "ran": False}, 'ran: answer "yes", "no" or "not told"'),
        ({"mds": "yes"}, "a dict with mds, mapped"),
        (None, "a dict with mds"),
    ],
}  # fmt: skip

RIGHT |= {
    "09-3": [
        {**MUTANT, "mmio": False, "resume": True},
        {**MUTANT, "module": "B ", "features": ("X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO",)},
    ],
    "09-4": [{name: said.upper() for name, said in SAYS.items()}, dict(reversed(SAYS.items()))],
}
