"""The eras, what each promised, and the proof: history, promise, entry, space, audit, exposure."""
