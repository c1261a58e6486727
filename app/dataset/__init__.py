"""A folder of pictures before it is trained on: looked at, checked, described, written to.

It does not know pages. Nothing is written but what a person asked for, and each file whole.
"""
