"""EntryExplorer: one VM-Enter, in one era or two."""
