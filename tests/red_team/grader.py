"""``nutshell`` for the red team's classroom, as a program of its own: its units are those beside this file.

``grader.py classroom DIR`` and ``grader.py grade DIR [LEVEL [WORKERS]]``; grading has short limits, so that what never
ends costs little, and prints the summary as JSON.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ in ("__main__", "__mp_main__"):  # the program and its workers, never a process that only imports this
    sys.path[0] = os.environ.get("NUTSHELL_UNITS", str(HERE))  # where solutions/ stands; it comes first
    sys.path.append(str(HERE.parents[1]))


def limits() -> object:
    """Enough for honest work on small inputs, and little for the rest."""
    from autograder.sandbox import Limits

    return Limits(request=3.0, submission=30.0, memory=1 << 30, disk=128 << 20, files=2_000)


def show(folder: Path, summary: Any) -> None:
    """What an instructor sees of it: the command's words, and the class report beside the classroom."""
    from autograder import class_page, class_report
    from autograder.commands import grade

    grade._show(folder, summary)
    page = folder.parent / "report.html"
    class_page.write(class_report.gather(folder), page, page.with_suffix(".csv"))


def main() -> int:
    """Run one of the two commands."""
    command, folder, *rest = sys.argv[1:]
    if command == "classroom":
        from autograder import classroom

        classroom.make(Path(folder))
        return 0
    from autograder.grading import grade

    level = rest[0] if rest and rest[0] != "-" else None
    summary = grade(Path(folder), level=level, workers=int(rest[1]) if len(rest) > 1 else None, limits=limits())  # type: ignore[arg-type]
    with contextlib.redirect_stdout(sys.stderr):
        show(Path(folder), summary)
    print(json.dumps(summary.as_data()))
    return 3 if summary.trouble else 1 if summary.refused else 0


if __name__ == "__main__":
    from nutshell.errors import NutshellError

    try:
        raise SystemExit(main())
    except NutshellError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
