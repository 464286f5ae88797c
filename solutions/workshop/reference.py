"""The workshop has no technique of its own: each exercise is that of the unit named in ``checks.py``."""
