"""ssl_skel: the benchmark suite for self-supervised skeleton action recognition."""

__version__ = "0.1.0"
