"""Photographs, where they come from, their split, and batches of patches."""
