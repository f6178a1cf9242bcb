"""Notebook 07's exercises: wrong answers, each with words that must be in the reply."""

from answers import altered

TIDY = "    andl $RUN_VMRESUME, %ebx            # the other run flags are used up\n"
LOADS = "    load_guest_registers rax, 0\n"


def stub(*changes):
    """The repaired stub of 07-1 with something wrong; each change must fit just once."""
    return altered("07-1", *changes)


BT, STASH, CHOICE = (
    line + "\n"
    for start in ("    btl", '    ALTERNATIVE_2 "", stash', '    ALTERNATIVE_2 "", clear')
    for line in stub().splitlines()
    if line.startswith(start)
)

WRONG = {
    "07-1": [
        (
            stub((STASH + BT, BT + STASH)),
            "entered before: VMLAUNCH ran, VMRESUME is due. jnc reads CF, last written by testl",
        ),
        (stub((BT, BT + TIDY)), "jnc reads CF, last written by andl"),
        (stub((STASH, STASH + TIDY)), "VERW ran, and nothing asked for it. jz reads ZF, last written by andl"),
        (stub((STASH, TIDY + STASH)), "a clear is owed, and nothing cleared. jz reads ZF, last written by testl"),
        (
            stub((BT, BT + "    incl %ecx\n")),
            "VERW ran, and nothing asked for it. jz reads ZF, last written by incl",
        ),
        (
            stub((BT, ""), (CHOICE, "    movl 8(%rsp), %ebx\n    btl $0, %ebx\n" + CHOICE)),
            "RBX should hold the guest's",
        ),
        (stub((STASH, "")), "jz reads ZF, last written by incq"),
        (stub((LOADS, "    clear_cpu_buffers\n" + LOADS), (CHOICE, "")), "No conditional jump decides about VERW"),
        (stub((CHOICE, "    clear_cpu_buffers\n")), "no VERW selected; "),
        (stub(("jnc", "jc")), "VMRESUME ran, VMLAUNCH is due. jc reads CF, last written by btl"),
        (stub((CHOICE, CHOICE + "    movq %rax, (%rsp)\n")), "that is back in the buffers"),
        (  # ZF is 0 behind a VMWRITE, and 1 where the compare found RSP unchanged: most VM-Enters are not counted
            stub(
                ("    movq 16(%rsp), %rdi                 # the vCPU\n", "    movq 16(%rsp), %rdi\n    je 7f\n"),
                ("# one more VM-Enter\n", "# one more VM-Enter\n7:\n"),
            ),
            "host RSP unchanged: 0x30 of the vCPU should go up by one; it is written 0 times",
        ),
        (stub(("    vmresume\n", "")), "no VM-Enter: the run ended with return"),
        (stub((BT, BT + "1: jmp 1b\n")), "the run ended with budget"),
        (stub((LOADS, "")), "RAX should hold the guest's value"),
        (stub((BT, "    btm $0, %ebx\n")), "line 6"),
        (7, "should be text"),
    ],
    "07-2": [
        ("b", "the order of the two entries"),
        ("d", "what Fixes: is good for"),
        ("abd", "For MDS 43fb862de8f6 had ended it"),
        ("bcd", "Tested-by"),
        ("bde", "about skipping"),
        ("bdf", "TEST that clears CF"),
        ("abcdef", "a does not hold"),
        ("", "letters from 'a' to 'f'"),
        ("B", "letters from 'a' to 'f'"),
        (["b", "d"], "letters from 'a' to 'f'"),
    ],
}
