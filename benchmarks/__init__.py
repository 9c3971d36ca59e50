"""Reproducible experiments: one command a table or figure. Results lie under ``benchmarks/results``."""
