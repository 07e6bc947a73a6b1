"""Pairs and answers as a folder that a trainer reads, and what is left out of it."""
