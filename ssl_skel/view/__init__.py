"""Pictures: clips, skeleton clouds, repaintings, features, curves, robustness, audits; what ``ssl-skel view`` draws.

Figures are drawn on matplotlib's own canvas, without pyplot and so without a display or global state. The same input
gives the same bytes, in PNG and in SVG.
"""
