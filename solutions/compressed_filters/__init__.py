"""Unit 09, compressed filters: the reference library, the lab's source, checks, wrong answers and the results."""
