#!/usr/bin/env bash
# Builds the operator's image into dist/cinderbank-image.tar (a docker-archive) and runs it once.
#
#   deploy/image/build.sh                   with docker, or with buildah as root
#   BASE=registry/python:3.11-slim ...      another base image
#   BASE=local ...                          a base made of Debian packages (debootstrap): no registry
#                                           is asked; chosen by itself where none can be reached
#   BUILDER=docker|buildah, TAG=localhost/cinderbank:0.1.0
#
# To use it: docker load -i dist/cinderbank-image.tar
#            ctr -n k8s.io images import dist/cinderbank-image.tar        (on a node)
#            skopeo copy docker-archive:dist/cinderbank-image.tar docker://REGISTRY/cinderbank:TAG
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)
tag=${TAG:-localhost/cinderbank:$version}
out=dist/cinderbank-image.tar
default_base=docker.io/library/python:3.11-slim-bookworm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cinderbank/image-base
started=$SECONDS

say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $*"; exit 1; }

had_containers=$([ -e /var/lib/containers ] && echo yes || true)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cinderbank-image.XXXXXX")
cleanup() {
    # buildah's layers are mounted below $work while it runs; a killed run may leave one behind.
    { grep -o " $work/[^ ]*" /proc/mounts || true; } | sort -r | while read -r mounted; do
        umount -l "$mounted" || true
    done
    rm -rf --one-file-system "$work"
    # The one thing that buildah keeps outside its store, whatever it is told.
    if [ -z "$had_containers" ]; then rm -rf /var/lib/containers; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- which tool, which base -------------------------------------------------------------------
builder=${BUILDER:-}
if [ -z "$builder" ]; then
    if docker info >/dev/null 2>&1; then builder=docker
    elif command -v buildah >/dev/null; then builder=buildah
    else die "needs docker, or buildah: apt-get install --no-install-recommends buildah"
    fi
fi
base=${BASE:-}
if [ -z "$base" ]; then
    if curl -sS -m 10 -o /dev/null https://registry-1.docker.io/v2/ 2>/dev/null; then
        base=$default_base
    else
        say "no registry can be reached: making a base of Debian packages"
        base=local
    fi
fi

# Prints the path of a tar of a minimal Debian with Python, made once per Debian release and month.
local_base() {
    local suite=bookworm mirror=http://deb.debian.org/debian root=$work/rootfs tar
    tar=$cache/$suite-$(date -u +%Y-%m).tar
    if [ ! -f "$tar" ]; then
        [ "$(id -u)" = 0 ] || die "a local base needs root (debootstrap)"
        command -v debootstrap >/dev/null \
            || die "needs debootstrap: apt-get install --no-install-recommends debootstrap"
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
            "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 \
            || { tail -5 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
            "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* \
            "$root"/usr/share/info/* "$root"/dev/*
        mkdir -p "$cache"
        tar -C "$root" --numeric-owner --one-file-system -cf "$tar.$$" .
        mv "$tar.$$" "$tar"
        rm -rf --one-file-system "$root"
    fi
    printf '%s\n' "$tar"
}

arguments=(--build-arg "VERSION=$version"
           --build-arg "REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
           --tag "$tag")
# Certificates that this machine trusts and a fresh base does not (a proxy of one's own).
[ -n "${SSL_CERT_FILE:-}" ] && arguments+=(--secret "id=ca,src=$SSL_CERT_FILE")

# What must hold inside: nobody's user, and every command can be loaded.
works='
import os, importlib, cinderbank.cli as cli
assert os.getuid() == 65532, os.getuid()
for command in cli.COMMANDS:
    if command != "version": importlib.import_module(f"cinderbank.cli.{command}")
'

# --- build, run once, save ----------------------------------------------------------------------
mkdir -p dist
case $builder in
docker)
    if [ "$base" = local ]; then
        docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$(local_base)" \
            localhost/cinderbank-base >/dev/null
        base=localhost/cinderbank-base
    fi
    DOCKER_BUILDKIT=1 docker build "${arguments[@]}" --build-arg "BASE=$base" .
    docker run --rm --read-only --tmpfs /tmp "$tag" version
    docker run --rm --read-only --tmpfs /tmp --entrypoint python "$tag" -c "$works"
    docker save -o "$out" "$tag"
    ;;
buildah)
    # A store of its own, so that nothing is left in the machine's.
    cat >"$work/storage.conf" <<CONF
[storage]
driver = "${STORAGE_DRIVER:-overlay}"
graphroot = "$work/storage"
runroot = "$work/run"
CONF
    export CONTAINERS_STORAGE_CONF=$work/storage.conf
    # chroot: no user namespaces, cgroups or network of its own; works where containers do not.
    export BUILDAH_ISOLATION=chroot
    if [ "$base" = local ]; then
        tar=$(local_base)
        ln "$tar" "$work/rootfs.tar" 2>/dev/null || cp "$tar" "$work/rootfs.tar"
        printf 'FROM scratch\nADD rootfs.tar /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n' \
            >"$work/Dockerfile"
        mkdir "$work/context" && mv "$work/rootfs.tar" "$work/context/"
        buildah bud --quiet --tag localhost/cinderbank-base -f "$work/Dockerfile" "$work/context" \
            >/dev/null
        base=localhost/cinderbank-base
        arguments+=(--pull-never)
    fi
    buildah bud --quiet "${arguments[@]}" --build-arg "BASE=$base" . >/dev/null
    container=$(buildah from --pull-never "$tag")
    buildah run "$container" -- python -m cinderbank version
    buildah run "$container" -- python -c "$works"
    rm -f "$out"
    buildah push --quiet "$tag" "docker-archive:$out:$tag" >/dev/null
    ;;
*) die "BUILDER is $builder: use docker or buildah" ;;
esac
say "$tag is in $out: $(du -m "$out" | cut -f1) MB, $((SECONDS - started)) s"
