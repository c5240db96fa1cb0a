"""Datasets: readers, the ragged store, splits, preprocessing and the device loader."""
