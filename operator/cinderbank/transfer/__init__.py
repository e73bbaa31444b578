"""The data path: one process per transfer, threads inside, memory independent of the volume's size.

No SDK is imported here; the wiring (cli.transfer) hands in an object store and a cloud connection.
"""
