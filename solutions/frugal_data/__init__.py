"""Unit 02, frugal data: the reference library, the lab's source, checks, wrong answers and the measured results."""
