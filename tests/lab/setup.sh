#!/bin/sh
# Makes this machine able to run the tests: what is missing on the system, and .venv.
#
# Only QEMU, iproute2 and mmdebstrap (with the keyring it needs) and, where Debian split it
# off, Python's venv are put on the system. Everything else lives in .venv and in the cache
# folder. Without root the script names what is missing and stops. With `bench` as argument a
# C compiler as well: keepalived's checkers are measured with a stub of IPVS.
set -eu
cd "$(dirname "$0")/../.."

find_python() {
    for name in python3 python3.11 python3.12 python3.13 python3.14 python3.15; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

missing=""
need() { # need PACKAGE: COMMAND fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

kernel_has_ipvs() {
    [ -e /proc/net/ip_vs ] && return 0
    [ "$(id -u)" = 0 ] && modprobe -q ip_vs 2>/dev/null && [ -e /proc/net/ip_vs ]
}

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
python=$(find_python) || python=""
if [ -z "$python" ]; then
    missing="$missing python3 python3-venv"
elif [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="$missing $("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
fi
need iproute2 command -v ip
need mmdebstrap command -v mmdebstrap
need debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg
need e2fsprogs command -v mke2fs
kernel_has_ipvs || need "qemu-system-x86" command -v qemu-system-x86_64
[ "$(id -u)" = 0 ] || need uidmap command -v newuidmap
[ "${1:-}" != bench ] || need "gcc libc6-dev" sh -c 'command -v cc || command -v gcc'

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: missing on this machine. On Debian or Ubuntu, as root:" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    echo "setup: installing with apt-get:$missing"
    log=$(mktemp)
    if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "setup: apt-get could not install:$missing" >&2
        exit 1
    fi
    rm -f "$log"
    python=$(find_python) || {
        echo "setup: this release has no Python 3.11 or newer; install one" >&2
        exit 1
    }
fi

if [ "$(id -u)" != 0 ] && ! unshare --user --map-root-user --map-auto true 2>/dev/null; then
    echo "setup: $(id -un) may not make user namespaces, so not every test can pass." >&2
    echo "setup: as root, whichever of these is missing:" >&2
    echo "    usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)" >&2
    echo "    sysctl kernel.unprivileged_userns_clone=1                # Debian before 11" >&2
    echo "    sysctl kernel.apparmor_restrict_unprivileged_userns=0    # Ubuntu from 23.10" >&2
fi

ready=.venv/.ready
wanted=$(cat requirements.lock extras.lock pyproject.toml | sha256sum)
if [ ! -x .venv/bin/python ] || [ "$(cat $ready 2>/dev/null)" != "$wanted" ]; then
    echo "setup: .venv with $("$python" --version), from requirements.lock"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    # The lock files name everything, so pip resolves nothing: older ones fail in a release of
    # coverage newer than the pinned one, which pytest-cov asks for as coverage[toml].
    .venv/bin/python -m pip install -q --disable-pip-version-check \
        --no-deps --require-hashes -r requirements.lock -r extras.lock
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
    echo "$wanted" >$ready
fi
