"""Settings of the server that ``nutshell lab`` starts; Jupyter reads them from the folder that the command names."""
# ruff: noqa: F821

import warnings

from nutshell.lessons import save_without_outputs

warnings.filterwarnings("ignore", message="Overriding existing pre_save_hook")  # it is set whenever this file is read
get_config().FileContentsManager.pre_save_hook = save_without_outputs  # type: ignore[name-defined]
