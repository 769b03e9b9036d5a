"""Measures the goals of speed side by side: `python -m bench` (or `make bench`)."""
