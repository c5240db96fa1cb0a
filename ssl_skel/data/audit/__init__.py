"""Looking for what makes a dataset's numbers wrong: duplicates, leaks, clips that are broken."""
