"""Taking steps, saving, sampling, validating."""
