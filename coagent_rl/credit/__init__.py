"""Structural credit assignment: which unit earned the credit? One rule a file, each a pure function of arrays."""
