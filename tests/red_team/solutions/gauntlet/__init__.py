"""Five small exercises and a budget, made to be attacked."""
