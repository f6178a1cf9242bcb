"""The child process of `assembler`: text on standard input, ELF object to the file named.

It imports llvmlite alone. LLVM prints a syntax error to standard error and ends this process.
"""

import sys
from pathlib import Path

MEMORY = 1 << 30  # bytes of address space


def main() -> None:
    """Assemble standard input."""
    try:
        import resource  # noqa: PLC0415  (not on Windows)

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # a limit that cannot be set; the time limit remains
        pass
    import llvmlite.binding as llvm  # noqa: PLC0415  (after the limit, so that it holds for all)

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    text = sys.stdin.buffer.read()
    quoted = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:02X}" for byte in text)
    module = llvm.parse_assembly(f'target triple = "x86_64-unknown-linux-gnu"\nmodule asm "{quoted}"\n')
    machine = llvm.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine()
    Path(sys.argv[1]).write_bytes(machine.emit_object(module))


if __name__ == "__main__":
    main()
