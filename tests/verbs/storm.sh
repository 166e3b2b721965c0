#!/usr/bin/env bash
# All-reduce while its network misbehaves, on the machine of
#   tools/softroce run --planes 4 -- tests/verbs/storm.sh BUILD_DIRECTORY
# From the start plane 0 loses 5 % and plane 1 has 2 ms more delay; in mid-run
# plane 2 goes black for what a sends, and plane 3 for 3 s both ways. Every
# element must be right. Prints what the paths did.
set -euo pipefail
build=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
path() { "$here/../../tools/softroce_lib/path" "$@"; }
path 0 0 ab loss 5%
path 1 0 ab delay 2ms
nice -n 19 "$here/ranks.sh" "$build" 2 -b 512K -e 512K -n 30 -w 1 &
ranks=$!
sleep 2
path 2 0 a loss 100%
path 3 0 ab loss 100%
sleep 3
path 3 0 ab
wait "$ranks"
