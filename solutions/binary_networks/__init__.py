"""Unit 08, binary networks."""
