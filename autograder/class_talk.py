"""What a teacher should talk about in the next class, in a few sentences at the head of each lab."""

from dataclasses import replace
from typing import TYPE_CHECKING

from nutshell.wire.running import NOT_DONE, OK
from nutshell.wire.show import WORDS, number

if TYPE_CHECKING:
    from autograder.class_budgets import BudgetReport
    from autograder.class_data import LabReport
    from autograder.class_findings import ExerciseReport

MOST = 3  # exercises
WORTH_IT = 0.1  # share of failures from which an exercise is worth time in class


def what_to_talk_about(lab: "LabReport") -> "LabReport":
    """The same report with its ``talk`` filled in."""
    hard = [one for one in lab.exercises if one.failed and one.share_failed >= WORTH_IT and one.possible > 0]
    talk = [(one.name, _of_exercise(one)) for one in hard[:MOST]]
    talk += [(one.name, said) for one in lab.budgets if (said := _of_budget(one))]
    if lab.flags:
        who = len({flag.student for flag in lab.flags})
        kinds = ", ".join(sorted({flag.kind for flag in lab.flags}))
        talk.append(("To look at", f"{_submissions(who)} {'has' if who == 1 else 'have'} flags ({kinds})."))
    waiting = lab.counts["not graded yet"] + lab.counts["grader's trouble"]
    if waiting:
        talk.append(("Not graded", f"{_submissions(waiting)}; run nutshell grade, which says why."))
    if lab.counts["refused"]:
        talk.append(("Refused", f"{_submissions(lab.counts['refused'])}; the reasons stand below."))
    to_mark = sum(bool(line.to_mark) for line in lab.students)
    if to_mark:
        talk.append(("To mark by hand", f"{_submissions(to_mark)}, in formgrader."))
    if lab.counts["missing"]:
        talk.append(("Missing", f"{lab.counts['missing']:,} of {len(lab.students):,} handed nothing in."))
    if not talk and lab.handed_in:
        talk.append(("All well", "nothing failed often enough to take time for it."))
    return replace(lab, talk=tuple(talk))


def _of_exercise(one: "ExerciseReport") -> str:
    kinds = ", ".join(
        f"{count:,} {WORDS.get(status, status)}" for status, count in one.counts.items() if status != OK and count
    )
    said = f"{one.failed:,} of {one.judged:,} didn't get it all right ({kinds})."
    if one.messages and one.messages[0].count > 1:
        first = one.messages[0]
        said += f" The commonest reason, {first.count:,} times: {first.words}"
    return said


def _of_budget(one: "BudgetReport") -> str:
    judged = sum(one.counts.values())
    parts = [
        (one.counts.get("WRONG", 0), "over a limit"),
        (one.counts.get("REFUSED", 0), "with a file that was refused"),
        (one.counts.get(NOT_DONE, 0), "without a file"),
    ]
    said = ", ".join(f"{count:,} {words}" for count, words in parts if count)
    if not said:
        return ""
    said = said.replace(" ", f" of {judged:,} ", 1)
    mean = f" On average {number(one.mean)} of {number(one.possible)} points." if one.mean is not None else ""
    return f"{said}.{mean}"


def _submissions(count: int) -> str:
    return f"{count:,} submission{'' if count == 1 else 's'}"
