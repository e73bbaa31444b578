"""A model of the bank's protocol: writers, deleters, readers and collections, interleaved at random.

Small on purpose: sessions are numbers, chunks have no bytes, and one step is one request. It decides
whether the *order* of the requests is right; that the code sends them in this order is what
tests/crash/bank shows, with the real code. `python -m tests.model --help`; docs/bank-safety.md.
"""
