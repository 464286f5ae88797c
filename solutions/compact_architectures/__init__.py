"""Unit 10, compact architectures: the reference library, the lab's source, checks, wrong answers and the results."""
