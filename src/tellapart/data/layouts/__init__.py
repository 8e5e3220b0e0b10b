"""Layouts of data sets: folders, tables, lists, IDX, parquet and others."""
