"""Settings of the server that ``nutshell lab`` starts; Jupyter reads them from the folder that the command names."""
# ruff: noqa: F821

from nutshell.lessons import save_without_outputs

get_config().FileContentsManager.pre_save_hook = save_without_outputs  # type: ignore[name-defined]
