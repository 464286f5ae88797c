"""Unit 00, the workshop: one network shrinking in two hours, by exercises that other units lend."""
