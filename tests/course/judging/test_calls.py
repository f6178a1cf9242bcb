"""What a function of a learner's may take: instructions, counted."""

import pytest

from vmenter.course.judging import calls
from vmenter.emulator.machine import Machine
from vmenter.emulator.trace import End


@pytest.mark.parametrize(("rounds", "end"), [(9_000, End.RETURN), (11_000, End.BUDGET)])
def test_a_function_may_take_20_000_instructions_and_no_more(rounds, end):
    code = calls.built(f".globl entry\nentry: movl ${rounds}, %ecx\n1: decl %ecx\njnz 1b\nret\n")
    called = calls.run(Machine(code, budget=calls.BUDGET), calls.Call("any", {}))
    assert called.trace.end is end
