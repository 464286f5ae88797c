"""Unit 13, in a nutshell: the reference library, the lab's source, checks, wrong answers and the reference result."""
