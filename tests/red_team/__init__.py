"""Submissions that a trustworthy grader survives: attacks, controls and faults, each with the verdict it demands.

``python -m tests.red_team`` grades them all in one classroom and prints the table.
"""
