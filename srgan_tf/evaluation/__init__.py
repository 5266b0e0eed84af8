"""Test sets, the comparison of models on them, and its report."""
