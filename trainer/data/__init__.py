"""Folders of pictures become batches."""
