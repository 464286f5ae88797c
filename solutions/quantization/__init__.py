"""Unit 06, quantization: whole numbers for weights and activations, and arithmetic that needs no others."""
