"""PatchBench: one site, patched step by step."""
