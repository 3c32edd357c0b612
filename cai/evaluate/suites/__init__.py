"""Suites of prompts: ours, files of one's own, and those of the field by their column names."""
