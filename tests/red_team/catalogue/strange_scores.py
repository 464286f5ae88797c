"""Marks that are no marks: below nothing, above everything, not a number."""

from tests.red_team.attack import NOT_DONE, OK, RAISED, WRONG, Attack, Notebook, half, of_group

WRONG_HALF = half("def half(x):\n    return 0 * x\n")


def marks(**changed: object):
    """An edit that changes nbgrader's metadata of every cell that has some."""

    def edit(notebook: Notebook) -> None:
        for cell in notebook["cells"]:
            if "nbgrader" in cell["metadata"]:
                cell["metadata"]["nbgrader"].update(changed)

    return edit


def check_says(source: str):
    """An edit that replaces what all check cells say."""

    def edit(notebook: Notebook) -> None:
        for cell in notebook["cells"]:
            if str(cell["metadata"].get("nbgrader", {}).get("grade_id", "")).startswith("check_"):
                cell["source"] = source

    return edit


ATTACKS = of_group(
    "strange scores",
    Attack("minus one", "check cells whose last value is −1", (WRONG,), WRONG_HALF, edit=check_says("-1.0")),
    Attack("NaN", "check cells whose last value is NaN", (WRONG,), WRONG_HALF, edit=check_says("float('nan')")),
    Attack(
        "a million",
        "check cells whose last value is a million, and metadata that allows it",
        (WRONG,),
        WRONG_HALF,
        edit=check_says("1_000_000.0"),
    ),
    Attack(
        "an infinite score",
        "check cells whose last value is 1e308 * 10",
        (WRONG,),
        WRONG_HALF,
        edit=check_says("1e308 * 10"),
    ),
    Attack("500 points", "every cell claims 500 points", (WRONG,), WRONG_HALF, edit=marks(points=500)),
    Attack("negative points", "every cell claims −5 points", (WRONG,), WRONG_HALF, edit=marks(points=-5)),
    Attack(
        "points that are NaN",
        "NaN in the notebook's JSON, which is no JSON",
        (WRONG,),
        WRONG_HALF,
        edit=marks(points=float("nan")),
        says=".*",
        marks="any",
        others=False,
    ),
    Attack("points that are text", 'points of "99", a list and nothing', (WRONG,), WRONG_HALF, edit=marks(points="99")),
    Attack(
        "points that are a list", "a list where a number should stand", (WRONG,), WRONG_HALF, edit=marks(points=[9, 9])
    ),
    Attack(
        "a score in the metadata",
        "scores and comments of its own in each cell's metadata",
        (WRONG,),
        WRONG_HALF,
        edit=marks(score=2, auto_score=2, manual_score=2, extra_credit=98, needs_manual_grade=True, max_score=2),
    ),
    Attack(
        "not graded",
        "grade: false everywhere, in the hope of full marks by default",
        (WRONG,),
        WRONG_HALF,
        edit=marks(grade=False),
    ),
    Attack(
        "only manual grading",
        "every cell is a task to be graded by hand",
        (WRONG,),
        WRONG_HALF,
        edit=marks(task=True, solution=True, grade=True),
    ),
    Attack(
        "returns as scores",
        "half returns −1, half of the time, and NaN",
        (WRONG,),
        half("""
        def half(x):
            return -1.0 if len(x) == 1 else float("nan")
        """),
    ),
    Attack(
        "a denormal and a huge number",
        "1e308 and 5e-324, whose product with 2 overflows",
        (WRONG,),
        half("""
        def half(x):
            return np.full(x.shape, 1e308)
        """),
    ),
    Attack(
        "true as a value",
        "a boolean array: true is 1",
        (WRONG,),
        half("""
        def half(x):
            return np.ones(x.shape, bool)
        """),
    ),
    Attack(
        "an integer of a million digits",
        "a number that no float can hold",
        (WRONG, "OUTPUT", RAISED),
        half("""
        def half(x):
            return 1 << 4_000_000
        """),
    ),
    Attack(
        "honest, claims minus five",
        "a right answer in a notebook that claims −5 points",
        (OK,),
        edit=marks(points=-5, grade=False),
    ),
    Attack("blank", "the stub, untouched", (NOT_DONE,), {"half": 'def half(x):\n    raise NotImplementedError("x")\n'}),
)
