"""Unit 03, low rank: the reference library, the lab's source, checks, wrong answers and the reference result."""
