#!/bin/sh
# A root file system of Debian packages, with this library: debian.sh DIR [SUITE]
#
# Needs root, mmdebstrap and pip. The packages are unpacked and no script of theirs is run, which is
# enough for Python. What else the app imports is installed beside it, as here.
set -eu
dir=$1 suite=${2:-bookworm}
mmdebstrap --quiet --variant=extract --include=python3-minimal,libpython3-stdlib,libc-bin \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$dir" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
version=$(chroot "$dir" /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python3 -m pip install --quiet --no-compile --python-version "$version" --only-binary=:all: \
    --target "$dir/usr/lib/python3/dist-packages" "${MOBY_PLUGINS:-moby-plugins[serve]}"
