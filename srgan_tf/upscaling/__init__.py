"""Enlarging photographs of any size with a generator."""
