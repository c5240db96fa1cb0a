"""Loggers: where training curves are shown besides their JSON lines. Each satisfies `ssl_skel.api.Logger`."""
