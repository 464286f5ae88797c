"""Units of the red team; they stand where the grader looks for units."""
