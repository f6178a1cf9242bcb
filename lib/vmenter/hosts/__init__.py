"""What a machine says of itself, read and explained."""
