"""Frozen encoders outside a run: their files, arrays in and features out, a scikit-learn transformer."""
