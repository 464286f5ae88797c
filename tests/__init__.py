"""The tests mirror the folders of the project; helpers are imported from here, as tests.nutshell.tiny_source."""
