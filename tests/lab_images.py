"""Small kernels for tests: a few lines of assembly, as an image where the machine wants it."""

from functools import cache

from vmenter.code.image import Image, from_bytes
from vmenter.emulator.memory import LAB_BASE
from vmenter.patching import alternatives
from vmenter.patching.alternative_table import Engine, rules
from vmenter.patching.lab import assemble

HEAD = """
.include "alternative.inc"
.include "features.inc"
.include "static_key.inc"
.text
"""
CLEAR = 3 * 32 + 18  # X86_FEATURE_CLEAR_CPU_BUF
VM = 21 * 32 + 13  # X86_FEATURE_CLEAR_CPU_BUF_VM
VM_MMIO = 21 * 32 + 19  # X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO

# The merged form of the entry stub, made short: run flags in RSI, the vCPU in RDI.
STUB = r"""
.macro verw_always
    verw x86_verw_sel(%rip)
.endm
.macro verw_if_mmio
    testl $4, (%rsp)
    jz .Lno_mmio\@
    verw x86_verw_sel(%rip)
.Lno_mmio\@:
.endm
.globl enter
enter:
    push %rbp
    mov %rsp, %rbp
    push %r12
    push %rbx
    push %rdi
    push %rsi
    mov 0x8(%rdi), %rcx
    mov 0x10(%rdi), %rdx
    mov 0x18(%rdi), %rbx
    mov 0x38(%rdi), %rdi
    ALTERNATIVE_2 "", verw_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, verw_always, X86_FEATURE_CLEAR_CPU_BUF_VM
    testl $1, (%rsp)
    jz 1f
    vmresume
1:  vmlaunch
"""


@cache
def lab(text: str) -> Image:
    """Assemble a text, the lab's macros included."""
    return from_bytes(assemble(HEAD + text), "a test", LAB_BASE)


def code(text: str) -> Image:
    """Return an image whose `start` is these lines."""
    return lab(f".globl start\nstart:\n{text}\n")


def patched(image: Image, *features: int) -> Image:
    """Return the image as a kernel of today patches it on a CPU with these features."""
    how = rules(image, Engine.ONCE, 14)
    return alternatives.apply(image, alternatives.patch_all(image, set(features), how))
