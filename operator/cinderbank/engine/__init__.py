"""Ticks: observe, decide by the pure rules of `domain`, do one effect, say what was done."""
