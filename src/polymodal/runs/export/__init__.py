"""Samples and rows as files of other programs: data set folders, Parquet, JSON lines."""
