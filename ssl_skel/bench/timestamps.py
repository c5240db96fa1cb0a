"""Times as records carry them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
