"""``python -m nutshell`` is the command ``nutshell``."""

from nutshell.cli import main

main()
