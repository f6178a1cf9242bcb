"""Plausible wrong answers to the exercises of notebook 10, and the reason that must be given for each."""

from answers import altered

GOOD = {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=vm"}
REPORT = {
    "sites": 5808,
    "clears_to_user": 5,
    "intel": ["CLEAR_CPU_BUF"],
    "amd": ["CLEAR_CPU_BUF_VM"],
    "amd_accesses_after_clear": 0,
    "form_of_6_19": False,
    "left_open": "mmio",
}
ALTERNATIVE = '    ALTERNATIVE "jmp by_loop", "", X86_FEATURE_FSRM\n'

WRONG = {
    "10-1": [
        ({**GOOD, "zen": 2}, "6.12.117: this machine does not have TSA"),
        ({**GOOD, "facts": ()}, "Clear CPU buffers attempted, no microcode"),
        ({**GOOD, "facts": ("tsa_sq_no", "tsa_l1_no", "verw_clear")}, "does not have TSA"),
        ({**GOOD, "cmdline": ""}, "the way to user space clears as well"),
        ({**GOOD, "cmdline": "tsa=on"}, "the way to user space clears as well"),
        ({**GOOD, "cmdline": "tsa=user"}, "before VMRUN nothing is cleared"),
        ({**GOOD, "cmdline": "tsa=VM"}, "the way to user space clears as well"),
        ({**GOOD, "cmdline": "tsa=vm mitigations=off"}, "6.12.117: before VMRUN nothing is cleared"),
        (
            {**GOOD, "cmdline": "mitigations=auto,no_user_kernel,no_user_user"},
            "6.12.117: the way to user space clears as well",
        ),
        ({**GOOD, "facts": (), "hypervisor": True}, "6.12.117: the way to user space clears as well"),
        ({**GOOD, "zen": 7}, "give 1 to 5"),
        ({**GOOD, "facts": ("verw",)}, "unknown name 'verw'"),
        ({**GOOD, "cmdline": 7}, "cmdline a text"),
        ({**GOOD, "facts": 7}, "facts a tuple of names"),
        ({**GOOD, "facts": ("verw_clear")}, 'needs a comma: ("verw_clear",)'),
        ({**GOOD, "bugs": ("tsa",)}, "there is no setting 'bugs'"),
        ("tsa=vm", "should be a dict"),
    ],
    "10-2": [
        (altered("10-2", (ALTERNATIVE, "    jmp by_loop\n")), "the same on every CPU"),
        (
            altered("10-2", (ALTERNATIVE, ALTERNATIVE.replace("FSRM", "FSRM + NOT"))),
            "without FSRM, 0 bytes: REP MOVSB ran, on a CPU where it is slow",
        ),
        (
            altered("10-2", (ALTERNATIVE, ALTERNATIVE.replace('"jmp by_loop", ""', '"", "jmp by_loop"'))),
            "without FSRM, 0 bytes: REP MOVSB ran, on a CPU where it is slow",
        ),
        (altered("10-2", ("    jrcxz done\n", "")), "without FSRM, 0 bytes: "),
        (altered("10-2", ("    jrcxz done\n", "    jmp by_loop\n")), "goes on and on, and does not return"),
        (altered("10-2", ("    jmp by_loop\ndone", "done")), "without FSRM, 7 bytes: byte 1 is not copied"),
        (altered("10-2", ("    incq %rsi\n", "")), "without FSRM, 7 bytes: byte 1 is wrong"),
        (altered("10-2", ("    movq %rdx, %rcx\n", "    leaq 1(%rdx), %rcx\n")), "1 beyond the end"),
        (
            altered("10-2", ("    movq %rdx, %rcx\n", "    movq %rdx, %rcx\n    shrq $3, %rcx\n")),
            "byte 0 is not copied",
        ),
        (altered("10-2", ("    jmp by_loop\ndone", "    rep movsb\ndone")), "REP MOVSB ran"),
        (altered("10-2", (".globl entry\nentry:", ".globl copy\ncopy:")), "no label entry"),
        (
            altered("10-2", ("X86_FEATURE_FSRM", "X86_FEATURE_FSRX")),
            "X86_FEATURE_FSRX stands for a number here, and is not defined",
        ),
        (altered("10-2", ("incq %rdi", "inqc %rdi")), "line 14, column 5: invalid instruction"),
        (b"\xf3\xa4", "should be text"),
    ],
    "10-3": [
        ({**REPORT, "sites": 9224}, "sites: 9224"),
        ({**REPORT, "clears_to_user": 0}, "count census.recorded"),
        ({**REPORT, "intel": ["CLEAR_CPU_BUF_VM"]}, 'the clears of "kvm-intel.ko"'),
        ({**REPORT, "intel": "CLEAR_CPU_BUF"}, 'the clears of "kvm-intel.ko"'),
        ({**REPORT, "amd": ["CLEAR_CPU_BUF_VM"] * 2}, "each once"),
        ({**REPORT, "amd_accesses_after_clear": 1}, "the largest counts"),
        ({**REPORT, "amd_accesses_after_clear": False}, "the largest counts"),
        ({**REPORT, "form_of_6_19": True}, "a feature of its own for guests that reach MMIO"),
        ({**REPORT, "form_of_6_19": 0}, "a feature of its own"),
        ({**REPORT, "left_open": "mds"}, "behind the else (notebook 06)"),
        ({"sites": 5808}, "a dict with sites, clears_to_user"),
        (None, "a dict with sites"),
    ],
}
RIGHT = {}
