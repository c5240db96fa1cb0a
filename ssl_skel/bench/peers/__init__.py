"""Implementations as published code writes them, to measure the suite against."""
