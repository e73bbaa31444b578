"""What the report says beside its numbers: the same after every run."""

from __future__ import annotations

HEAD = """
# Benchmarks

Written by `make bench`; change the bench, not this file. Ratios are seconds of the other by seconds of
ours: above 1 cinderbank is faster. benchmarks.json has the same with every single measurement.
"""

PARTS_PROSE = {
    "peers": """
## The whole job, against cinder-backup with its S3 driver

The same volume on Ceph RBD, the same S3 server, the same machine, by turns; which one begins changes
from round to round. Ours: from `kubectl apply` until the object is `Completed`, which includes snapshot,
clone, image, transfer and the removal of all three. Theirs: from the request until backup (and volume)
are `available`, looked at every 0.25 s. `zlib` is how Cinder ships it. What ours does more: it takes a
consistent copy of a volume that may be in use, and keeps it where Cinder's database is not needed.
Ours runs with `transport: Auto`, and each turn begins with an empty bank: the first backup of a volume goes
through Glance as VDI whatever is in it, which is the dearer way for a full one; the second goes by the first.

Where ours is slower, Glance is why. An incremental backup of ours reads the whole image, because only the bytes
tell what has changed, while cinder-backup asks Ceph; and every byte goes through Cinder, Glance's hashes and Glance's
store on its way. cinder-backup writes a restore into the new volume directly. That is the price of needing nothing
at either site but the public APIs.

How often a restore of a full volume is written depends on where Glance keeps its images. It travels raw: as qcow2 it
would be longer than the volume, which Cinder refuses.

- `cinderbank`: Glance keeps its images in files. It is written twice: into Glance, and by Cinder from there into
  the new volume.
- `cinderbank, Glance in Ceph`: Glance's images lie in the Ceph of the volumes, as in most clouds on Ceph. It is
  written once, into Glance; Cinder clones it. These rows are of Ceph's clone format 2
  (`require_min_compat_client` mimic or later). Only raw images are cloned: sparse and half volumes travel as
  qcow2, which Cinder converts there too.

`Glance by hand` and `Glance by hand, in Ceph` are that price alone, at the same two: an image that lies ready as a
file is uploaded and a volume made of it, with no bank, no check and no operator. No restore through Glance can be
faster.
CPU s and peak MiB are those of our transfer process and of the cinder-backup service; the 0.7 s CPU of our
process's start are not in them, as it waits for its job.
""",
    "path": """
## The data path alone

Out of a real Glance, by HTTP, into the S3 server, and back from there into nothing. All get the same
image from the same place. `curl | curl` does no work: it is what Glance and the S3 server can do.
restic always encrypts, so it is compared with ours encrypted; borg has no S3 and writes into a folder,
which spares it the S3 server. Ours hashes, finds zeros, compresses, and compares the image with the
hash that Glance has; its time includes the start of Python.
""",
    "growth": """
## Growth

One backup and one restore for each: the curve counts here, not the point.
""",
    "memory": """
## Memory

A backup of a volume that exists only as a pattern (2/5 zeros, 2/5 text, 1/5 noise), whose chunks are
thrown away: all that grows would be ours.
""",
    "policies": """
## Many policies on one operator

A real operator on a real API server; its cloud is an HTTP server that knows a token and a list of volumes. `at rest`
is long enough for one look at every policy and one list of everything. Writes are what the API server has
counted for our kinds and Events, without those of the bench. Without a bank, the backups of a run say so and wait;
then the bench itself writes that they are Completed. The operator's own limit of status writes (5 a second) is
lifted to 1,000, or it would be what is measured: divide the status writes by 5 for the seconds that they take with it.
`in memory` is the policies' own code alone (seconds are CPU seconds, without the stand-ins for API server and
cloud): it has the deletes of retention, each of which is proven in the bank before.
""",
}

HOW = """
## How it was measured

- The rig of the tests: real Keystone, Glance, Cinder (RBD on one Ceph OSD), etcd, kube-apiserver, MinIO,
  all on this one machine and its one disk. They share its cores with what is measured, so absolute
  times mean little elsewhere; ratios of the same run mean more.
- Volumes hold random, incompressible data in pieces of 1 MiB, scattered with a fixed seed, made through
  a Glance image. Text in images is words by Zipf's law (some 4 : 1 by zstd); no piece comes twice.
- Medians over the rounds, with the least and the most. The first round restores a sparse and a full volume with
  every tool and compares the bytes with the source.
- Before the first round ours and cinder-backup make a backup that is not measured, and ours a restore: whatever
  comes first pays for Ceph's first writes to its disk, which can double its time.
- Glance is switched between files and Ceph, and warmed up, outside of the times.
- CPU is user and system time. Ours and cinder-backup's is read from /proc ten times a second; that of a
  pipe of commands is what wait4 says. `machine's CPU s` is all processes together, without niced ones.
- Peak memory is VmHWM, added up over the processes of a tool that were there at once.
- Noise: a fixed piece of work (SHA-256, zlib, copies) is timed before, between and after all of it.
  Spread is (most - least) by median. When it is large, so is the error of all the other numbers.
- Not measured: more than one volume at a time, a store that is far away, TLS.
"""
