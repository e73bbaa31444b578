"""Hostile bytes for everything that is read from a bank or from a file: `python -m tests.fuzz TARGET`.

A target reads one input. It may refuse it with an error of ours, and nothing else; what it allocates
stays within what its own declared sizes allow.
"""
