"""Metrics: one file each, found by looking."""
