"""Kinds of adapter, one file each."""
