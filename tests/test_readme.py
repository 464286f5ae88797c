"""The README's figures are those of results/ and of the checkpoints' cards, and what it names exists.

    python -m tests.test_readme        print the table as it must stand in the README
"""

import re
from pathlib import Path

from nutshell import checkpoints, results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table() -> str:
    """The lines between the README's marks, from the measured numbers."""
    rows = []
    for name in checkpoints.names():
        card = checkpoints.card(name)
        figure = f"{card.test_error_percent:.2f} % error on the test images, seed {card.seed}"
        rows.append((f"{name} on {card.data}", figure, card.command))
    low_rank = results.load("low_rank")
    best = low_rank["reference"]
    rows.append((
        f"LeNet-300-100, first layer at rank {best['rank']}, on {low_rank['data']}",
        f"first layer {best['first_layer_rate']:.1f}× smaller; test error {_shown(best['test_error_percent'])} %, "
        f"dense {_shown(best['dense_test_error_percent'])} %, three seeds",
        low_rank["command"],
    ))
    rows += grading_rows()
    lines = ["| what | figure | regenerate with |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {figure} | `{command}` |" for what, figure, command in rows])


def grading_rows() -> list[tuple[str, str, str]]:
    """The grader beside nbgrader's."""
    grading = results.load("grading")
    return [
        (
            f"`nutshell grade` beside `nbgrader autograde`, {lab['words']}, {grading['machine']}",
            f"{lab['steady_ratio']['mean']:.1f}× as many submissions a minute in steady state; "
            f"{lab['whole_command_ratio']['mean']:.1f}× on {lab['submissions']} submissions, start-up included",
            grading["command"],
        )
        for lab in grading["labs"].values()
    ]


def _shown(value: dict) -> str:
    return f"{value['mean']:.2f} ± {value['spread']:.2f}"


def test_the_table_of_results_is_the_measured_one():
    stands = re.search(r"<!-- results -->\n(.*)\n<!-- /results -->", README, re.DOTALL)
    assert stands is not None and stands.group(1) == table(), "run: python -m tests.test_readme"


def test_every_file_that_is_linked_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_make_target_and_command_exists():
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE)) | set(re.findall(r"`make (\w+)`", README))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"lab", "test", "demo"} <= targets
    assert all(re.search(rf"\b{target}\b.*:", makefile) for target in targets)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    commands = set(re.findall(r"^(\w+) = \"\w+\.commands", project, re.MULTILINE))
    named = set(re.findall(r"^(?:.*`)?nutshell (\w+)", README, re.MULTILINE))
    assert named and named <= commands


if __name__ == "__main__":
    print(table())
