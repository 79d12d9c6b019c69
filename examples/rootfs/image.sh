#!/bin/sh
# A root file system of an image, as a tar on standard output: image.sh IMAGE [DOCKERFILE_DIR]
#
#     image.sh shelf . | moby-plugins package shelves:app --name shelf --rootfs - …
#
# With a directory, the image is built of the Dockerfile there; that installs moby-plugins[serve].
set -eu
image=$1
[ -z "${2:-}" ] || docker build --quiet --tag "$image" "$2" >&2
container=$(docker create --network none "$image" true)
trap 'docker rm --force "$container" >/dev/null' EXIT
docker export "$container"
