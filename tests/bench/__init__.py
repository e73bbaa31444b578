"""`make bench`: how fast cinderbank is, beside others on the same machine, in the same run."""
