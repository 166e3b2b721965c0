#!/usr/bin/env bash
# A stream of verified bytes over four ways, none of which is well, on the
# machine of
#   tools/softroce run --planes 4 -- tests/verbs/storm.sh BUILD [SECONDS]
# Plane 0 loses 5 %, plane 1 carries a tenth of what the machine can, plane 3
# has 2 ms more delay. Plane 2 goes black for what a sends after a quarter of
# the time, both ways after the half, and is well again after three quarters.
# Prints what the paths did; exits 1 if a byte was wrong or anything failed.
set -euo pipefail
build=$1 seconds=${2:-12}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
path() { "$here/../../tools/softroce_lib/path" "$@"; }
path 0 0 ab loss 5%
path 1 0 ab rate 25mbit
path 3 0 ab delay 2ms
trap 'for plane in 0 1 2 3; do path $plane 0 ab; done' EXIT
(
  quarter=$((seconds / 4))
  until pgrep -f 'hawser_perf client' >/dev/null; do sleep 0.1; done
  sleep "$quarter"
  path 2 0 a loss 100%
  sleep "$quarter"
  path 2 0 b loss 100%
  sleep "$quarter"
  path 2 0 ab
) &
"$here/stream.sh" "$build" --duration "$seconds" --size 64K --verify
wait
