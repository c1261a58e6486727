"""Blind votes: which of two pictures people like better, and what follows from it."""
