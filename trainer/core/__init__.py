"""Floors that know nothing of training: errors, schema, events, files."""
