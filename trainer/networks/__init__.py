"""How networks hold their weights and compute, whatever family they are of."""
