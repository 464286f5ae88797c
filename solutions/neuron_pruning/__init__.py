"""Unit 05, neuron pruning: the reference library, the lab's source, checks, wrong answers and the reference results."""
