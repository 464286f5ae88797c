"""The instructor's commands, one module each."""
