"""Widgets and drawings: thin views over the models of the floors below."""
