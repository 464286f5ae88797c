"""Unit 12, architecture search: the reference library, the lab's source, checks, wrong answers and the results."""
