"""Preprocessed datasets that people already hold, turned into stores of their own name and digest."""

FORMATS: dict[str, str] = {
    "ctrgcn-npz": "ssl_skel.data.importers.ctrgcn:CtrgcnNpz",
    "pyskl-pkl": "ssl_skel.data.importers.pyskl:PysklPickle",
    "crossclr-npy": "ssl_skel.data.importers.crossclr:CrossclrNpy",
}
"""Format -> ``module:Class`` of its importer."""
