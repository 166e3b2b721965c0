#!/usr/bin/env bash
# Ranks of all_reduce_perf that sit by turns on the hosts a and b of the machine
# that tools/softroce makes.
#   ranks.sh BUILD_DIRECTORY RANKS [ARGUMENT...]
# Exits with the first rank's failure, or 0.
set -euo pipefail
build=$1 ranks=$2
shift 2
pids=()
for ((rank = 0; rank < ranks; rank++)); do
  hosts=(a b)
  env HAWSER_DATAPATH="${HAWSER_DATAPATH:-verbs}" HAWSER_IB_HCA="${hosts[rank % 2]}" \
    "$build/all_reduce_perf" --plugin "$build/libnccl-net-hawser.so" \
    --rank "$rank" --ranks "$ranks" --root 127.0.0.1:7700 "$@" &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || { one=$?; [ "$status" != 0 ] || status=$one; }
done
exit "$status"
