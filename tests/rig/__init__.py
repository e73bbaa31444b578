"""The test rig: two real OpenStack sites, two real Kubernetes clusters and S3, all on loopback.

`python3 -m tests.rig up` makes it, `python3 -m tests.rig down` removes it. Tests use
`tests.rig.rig.Rig.open()`. Only the standard library is needed: the rig must come up on a machine
that has nothing yet.
"""
