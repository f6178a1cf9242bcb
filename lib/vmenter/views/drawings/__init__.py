"""Drawings: boxes and arrows, flows, decisions, bars, time."""
