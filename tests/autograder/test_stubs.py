"""Stubs and solutions cut out of a reference library."""

import ast

import pytest

from autograder.stubs import BEGIN, END, needed_names, public_names, solution_cell
from nutshell.errors import Refused

LIBRARY = '''
import numpy as np


@np.vectorize
def f(a, b=(1,
            2)):
    """Doc.

    More.
    """

    # why
    if a:
        x = """two
lines"""
    return [a, np.ones(1)]


class M(Base):
    """Doc."""

    size = 3

    def __init__(self, k):
        # first

        super().__init__()
        self.k = k

    def forward(self, x):
        """Doc of forward."""
        return x * self.k


def _private(x):
    return x


def bare(x):
    return x


def empty(x):
    """Doc."""


def flat(x): "Doc."; return x
'''


def test_function_keeps_signature_and_docstring_and_its_body_word_for_word():
    cell = solution_cell(LIBRARY, "f")
    assert cell.startswith("@np.vectorize\ndef f(a, b=(1,\n            2)):\n")
    assert cell.split(BEGIN)[0].endswith('More.\n    """\n\n    ')
    assert (
        cell.split(BEGIN)[1].split(END)[0].strip("\n").startswith('    # why\n    if a:\n        x = """two\nlines"""')
    )
    assert ast.dump(ast.parse(cell)) == ast.dump(
        next(ast.Module([n], []) for n in ast.parse(LIBRARY).body if n.lineno == 6)
    )


def test_every_method_of_a_class_is_a_region_of_its_own():
    cell = solution_cell(LIBRARY, "M")
    assert cell.count(BEGIN) == cell.count(END) == 2
    assert "    size = 3\n" in cell and "# first" not in cell.split(BEGIN)[0]
    compile(cell, "cell", "exec")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bare", "no docstring"),
        ("empty", "no body"),
        ("flat", "lines of its own"),
        ("absent", "it has f, M, bare, empty, flat"),
    ],
)
def test_what_cannot_become_a_stub_is_refused(name, said):
    with pytest.raises(Refused, match=said):
        solution_cell(LIBRARY, name)


def test_names_that_a_solution_needs_from_elsewhere():
    assert needed_names(solution_cell(LIBRARY, "M")) == {"Base"}
    assert needed_names(solution_cell(LIBRARY, "f")) == {"np"}
    assert public_names(LIBRARY) == ["f", "M", "bare", "empty", "flat"]
