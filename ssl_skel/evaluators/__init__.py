"""The field's protocols, one versioned class a file; an evaluator never sees a test label."""
