"""The ways through code: recovered, walked, told in words."""
