"""Base models, one file a family."""
