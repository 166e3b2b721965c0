#!/usr/bin/env bash
# hawser_perf from the host a to the host b of the machine that tools/softroce
# makes.
#   stream.sh BUILD_DIRECTORY [ARGUMENT OF THE CLIENT...]
# Exits with the client's status.
set -euo pipefail
build=$1
shift
export HAWSER_DATAPATH="${HAWSER_DATAPATH:-verbs}" HAWSER_IFNAME=lo
HAWSER_IB_HCA=b "$build/hawser_perf" server --once --quiet --bind 127.0.0.1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
for ((tries = 0; tries < 100; tries++)); do
  if : 2>/dev/null >/dev/tcp/127.0.0.1/18515; then break; fi
  sleep 0.1
done
HAWSER_IB_HCA=a "$build/hawser_perf" client 127.0.0.1 "$@"
