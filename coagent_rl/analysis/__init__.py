"""Analysis: plots, tables, statistics of units."""
