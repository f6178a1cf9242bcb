"""What `make artefacts` has packed, opened and used: unpacked elsewhere, installed into an empty environment."""
