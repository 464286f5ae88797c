"""The page that says where everything lives is true: each file is there and holds the words to look for."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "systems.md"
ROW = re.compile(r"\| (?P<name>.+?) \| (?P<words>.+?) \| (?P<links>\[.+\)) \|")


def rows(text: str) -> list[tuple[str, str, list[str]]]:
    """Name, words to look for and files of each row of the page's tables."""
    found = [ROW.fullmatch(line) for line in text.splitlines()]
    return [(row["name"], row["words"], re.findall(r"\]\((.+?)\)", row["links"])) for row in found if row]


def without(words: str, files: list[str], folder: Path) -> list[str]:
    """The files, as linked from the folder, that aren't there or don't hold the words."""

    def holds(file: Path) -> bool:
        return file.is_file() and words.lower() in " ".join(file.read_text(encoding="utf-8").lower().split())

    return [file for file in files if not holds(folder / file)]


ROWS = rows(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "words", "files"), ROWS, ids=[row[0] for row in ROWS])
def test_what_the_texts_name_lives_where_the_page_says(name, words, files):
    assert files and without(words, files, PAGE.parent) == []


def test_all_five_texts_and_all_lines_of_their_tables_are_read():
    text = PAGE.read_text(encoding="utf-8")
    headings = text.count("| named there | look for | in |")
    assert headings == text.count("\n## ") == 5
    assert len(ROWS) == sum(line.startswith("|") for line in text.splitlines()) - 2 * headings


def test_a_wrong_row_would_be_found(tmp_path):
    (tmp_path / "here.md").write_text("Swapout, and\nits schedule")
    assert without("swapout, and its", ["here.md"], tmp_path) == []
    assert without("Dropout", ["here.md", "gone.md"], tmp_path) == ["here.md", "gone.md"]
