"""``nutshell data``: which data sets are here, get them, take them over from a folder."""

from pathlib import Path

import click

from nutshell.errors import Refused


@click.group(invoke_without_command=True)
@click.pass_context
def data(context: click.Context) -> None:
    """Say which data sets are here, download them, or take a copy over.

    A data set is looked for in the folder that NUTSHELL_DATA names, then in the cache, then downloaded, which
    NUTSHELL_OFFLINE=1 forbids; failing that, a stand-in takes its place.

    \b
    Examples:
      nutshell data                          the same as nutshell data status
      nutshell data fetch                    download what is missing
      nutshell data import ~/Downloads       take over files that a browser downloaded
    """
    if context.invoked_subcommand is None:
        context.invoke(status)


@data.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool = False) -> None:
    """Say which copy of each data set is in use. Exits with 1 if one is damaged.

    \b
    Examples:
      nutshell data status
      nutshell data status --json
    """
    import json

    from nutshell.data.report import describe_all

    report = describe_all()
    if as_json:
        click.echo(json.dumps(report))
    else:
        _print_status(report)
    if damaged := [row["key"] for row in report["data_sets"] if row["problem"]]:
        raise Refused(f"{' and '.join(damaged)} can't be used as it is.")


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def fetch(names: tuple[str, ...]) -> None:
    """Download data sets into the cache; whole copies are left alone.

    Without a name those that the lessons run on; the larger pictures of the applications are fetched by name.

    \b
    Examples:
      nutshell data fetch
      nutshell data fetch mnist
      nutshell data fetch track gestures malaria
    """
    from nutshell import data as datasets
    from nutshell.data.report import fetch as fetch_one

    usual = [name for name in datasets.names() if not getattr(datasets.source_of(name), "on_request", False)]
    for source in [datasets.source_of(name) for name in names or usual]:
        click.echo(fetch_one(source))


@data.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def import_(path: Path) -> None:
    """Take a publisher's files over into the cache, from a folder or an archive.

    Check sums must be right; of pictures in folders, which have none, the listing must be whole.

    \b
    Examples:
      nutshell data import cifar-10-binary.tar.gz
      nutshell data import ~/Downloads       any folder with mnist/, the four MNIST files, or the CIFAR-10 archive
      nutshell data import cell_images.zip   the pictures of an application, zipped or in their folder
    """
    from nutshell.data.report import take_over

    for line in take_over(path):
        click.echo(line)


def _print_status(report: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("data set", "in use")
    table.add_column("from", overflow="fold")
    for row in report["data_sets"]:
        table.add_row(row["key"], row["name"] or "-", row["problem"] or row["path"] or row["place"])
    console = Console()
    console.print(table)
    variable = report["nutshell_data"] or "not set"
    offline = " (offline: NUTSHELL_OFFLINE is set)" if report["offline"] else ""
    console.print(f"NUTSHELL_DATA: {variable}\ncache: {report['cache']}{offline}", highlight=False, soft_wrap=True)
