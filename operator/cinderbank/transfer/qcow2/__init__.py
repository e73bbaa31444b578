"""qcow2 as a transport format: an image that streams in becomes extents, chunks become an image.

The format: docs/interop/qcow2.txt of QEMU. Nothing here does input or output, `spool` aside; what is
read comes from a cloud and is hostile until it is checked.
"""
