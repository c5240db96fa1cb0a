"""Writes new plugins, backbones, evaluators and datasets, as folders or as installable projects."""
