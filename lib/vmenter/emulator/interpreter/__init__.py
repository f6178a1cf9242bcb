"""A CPU in Python: for where no emulator's library can be loaded, and for whoever wants to read one.

An instruction is looked at once. `parts` takes its bytes apart, a builder of its kind (`moves`, `arithmetic`,
`bits`, `strings`, `jumps`, `system`, `sse`) makes a small function of it, an `Op`, and from then on to execute it
is to call that function: it acts on the `core` and returns the address of the next instruction. The loop is in
`cpu`.

What it does is what Unicorn does, and tests hold it to that, undefined flags excepted. What it does not know ends
in one `Fault`, which the machine turns into an error that names the instruction.
"""
