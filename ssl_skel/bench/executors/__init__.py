"""Executors: where units run. Each satisfies `ssl_skel.api.Executor`."""
