"""Adapters on models, and in files."""
