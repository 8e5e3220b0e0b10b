"""Finished runs ranked in one table, with paired tests. No torch."""
