"""Explorers: what the lessons let readers move, one module a unit, each function an ipywidgets widget."""
