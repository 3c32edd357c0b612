"""Prompts for a constitution: written by a model, and measured before anything is spent on them."""
