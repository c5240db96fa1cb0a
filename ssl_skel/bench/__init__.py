"""The bench: plan, cells, executors, records, statistics and boards."""
