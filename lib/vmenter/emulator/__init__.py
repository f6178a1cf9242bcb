"""Code runs up to VM-Enter, and what it did is remembered: machine, memory, trace, buffers."""
