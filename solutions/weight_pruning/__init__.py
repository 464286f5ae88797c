"""Unit 04: weight pruning."""
