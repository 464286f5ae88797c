"""``nutshell doctor``: what is here, what is missing, and the command that mends it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nutshell.doctor import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Say what this machine has, what is missing, and what mends it. Exits with 1 if something needed is missing.

    Nothing is changed and nothing is downloaded.

    \b
    Examples:
      nutshell doctor
      nutshell doctor --json
    """
    from nutshell.doctor import MISSING, examine
    from nutshell.errors import WrongUse
    from nutshell.workspace import find_course

    try:
        course = find_course()
    except WrongUse:
        course = None  # the report says so
    findings = examine(course)
    healthy = not any(finding.state == MISSING for finding in findings)
    if as_json:
        click.echo(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}))
    else:
        _print(findings, healthy)
    if not healthy:
        raise click.exceptions.Exit(1)


def _print(findings: "list[Finding]", healthy: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    signs = {"ok": Text("✓", "green"), "missing": Text("✗", "bold red"), "advice": Text("·", "yellow")}
    table = Table("", "part", "found, and what mends it", box=None, pad_edge=False)
    for finding in findings:
        mend = Text(f"\n→ {finding.mend}", "bold") if finding.mend else ""
        table.add_row(signs[finding.state], finding.part, Text.assemble(finding.detail, mend, overflow="fold"))
    console = Console()
    console.print(table)
    console.print()
    console.print("Everything needed is here." if healthy else "Something needed is missing: the lines marked ✗.")
