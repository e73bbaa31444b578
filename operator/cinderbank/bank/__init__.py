"""The bank: format 1 and its protocol, over any store that speaks `bank.store.ObjectStore`.

No S3 SDK, no OpenStack and no Kubernetes in here. Everything that is read is hostile until it was
checked; docs/bank-format.md is the same format in words and byte tables.
"""
