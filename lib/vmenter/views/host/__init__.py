"""HostView: what a machine says of itself, explained."""
