"""The heart: features, the table of alternatives, the engine that patches, static keys, and the lab's own code."""
