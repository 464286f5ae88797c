"""Instructors only: one package a unit, each with reference.py, lab.md, checks.py and mutants.py."""
