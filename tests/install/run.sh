#!/usr/bin/env bash
# Installs a build into a fresh prefix and uses it from there, as others would:
# by find_package, by pkg-config, and by dlopen.
#   run.sh BUILD_DIRECTORY
set -euo pipefail

[ $# = 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2; }
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

cmake --install "$build" --prefix "$prefix"
# Debian and others put libraries into lib/ARCHITECTURE.
lib=$(dirname "$(find "$prefix" -name libhawser.so)")
export LD_LIBRARY_PATH=$lib

echo "== find_package"
cmake -S "$here" -B "$scratch/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
cmake --build "$scratch/consumer"
"$scratch/consumer/use_hawser"
"$scratch/consumer/use_hawser_static"

echo "== pkg-config"
flags=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs hawser)
# shellcheck disable=SC2086  # Several flags, meant to be split.
g++ -std=c++20 -Wall -Wextra -Werror "$here/use_hawser.cc" $flags \
  -o "$scratch/use_hawser"
"$scratch/use_hawser"

echo "== dlopen"
python3 "$here/check_plugin.py" "$lib"
