"""Unit 07, deep compression: the pipeline from a network to a small file."""
