"""Unit 11, student and teacher: the reference library, the lab's source, checks and wrong answers."""
