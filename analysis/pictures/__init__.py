"""A folder of finished pictures as a source: which setting each shows, and its control."""

from analysis.pictures.placing import Axis, Folder, Found, find

__all__ = ["Axis", "Folder", "Found", "find"]
