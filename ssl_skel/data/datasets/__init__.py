"""One card per dataset."""
