"""The pages of a board folder beside its index: one a plugin, one a dataset, one a cell."""
