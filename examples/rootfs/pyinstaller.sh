#!/bin/sh
# A root file system of one program and the libraries that it needs: pyinstaller.sh MAIN.py DIR
#
# Needs pip install pyinstaller, and ldd. MAIN.py ends in serve_managed(app). Package it with
#     moby-plugins package MODULE:APP --rootfs DIR --entrypoint /plugin/plugin …
# Nothing else is inside, so there is neither a shell nor Python to be looked around with.
set -eu
main=$1 dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What is imported when it is first needed, PyInstaller does not see.
python3 -m PyInstaller --log-level ERROR --noconfirm --onedir --name plugin \
    --collect-submodules moby_plugins.app --collect-submodules moby_plugins.adapters.server \
    --collect-submodules moby_plugins.adapters.disk --collect-submodules cheroot \
    --distpath "$dir" --workpath "$work" --specpath "$work" "$main"
find "$dir/plugin" -type f \( -perm -100 -o -name '*.so*' \) -exec ldd {} + 2>/dev/null |
    sed -n 's/.*[ \t]\(\/[^ ]*\) (0x.*/\1/p' | sort -u | while read -r library; do
    case $library in "$dir"/*) continue ;; esac
    mkdir -p "$dir$(dirname "$library")"
    cp -L -n "$library" "$dir$library"
done
