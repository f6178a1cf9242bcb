"""Real kernels: found, fetched, read and judged."""
