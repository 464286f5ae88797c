"""Unit 01, counting: what a network costs, counted before it is run."""
