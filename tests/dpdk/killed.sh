#!/usr/bin/env bash
# A rank that is killed leaves nothing behind that keeps the next from starting.
#   killed.sh BUILD_DIRECTORY [EAL_ARGUMENT...]
# Two ranks over memif, by a socket that is a file, with what EAL is told of
# memory (--no-huge -m 512). First one is killed and then the other, and once
# more the other way round; each time two more start under the same names, and
# must end with no wrong element.
# Exits with 77 and a reason where hugepages are asked for and none are free.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
build=$1
shift
memory="${*:---no-huge -m 512}"
case $memory in
  *--no-huge*) ;;
  *) [ "$(cat /sys/kernel/mm/hugepages/*/free_hugepages | sort -n | tail -1)" \
       -ge 256 ] || { echo "skipped: fewer than 256 free hugepages"; exit 77; } ;;
esac

folder=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap finish EXIT
port=$((7900 + $$ % 90))

# start RANK ARGUMENT...: its id in the variable `started`.
start() {
  local rank=$1 roles=(server client) prefix=
  shift
  # Each process has files of its own, under a name that is used again.
  case $memory in *--huge-dir*) prefix="--file-prefix=hawser-test-$rank" ;; esac
  HAWSER_DATAPATH=dpdk HAWSER_IFNAME=lo HAWSER_PEER_TIMEOUT_MS=5000 \
    HAWSER_DPDK_EAL="--no-pci $memory $prefix --vdev=net_memif0,id=0,bsize=9216,role=${roles[rank]},socket-abstract=no,socket=$folder/memif" \
    HAWSER_DPDK_PORTS="net_memif0 10.9.0.$((rank + 1))/30" \
    "$build/all_reduce_perf" --plugin "$build/libnccl-net-hawser.so" \
    --rank "$rank" --ranks 2 --root "127.0.0.1:$port" "$@" \
    >"$folder/rank$rank" 2>&1 &
  started=$!
  pids+=("$started")
}

for first in 0 1; do
  start 0 -b 1M -e 1M -n 1000000
  zero=$started
  start 1 -b 1M -e 1M -n 1000000
  one=$started
  # Killed while data flows: the link is there as soon as the socket has been
  # found, and what follows takes less than a second.
  for ((i = 0; i < 100; i++)); do
    [ ! -S "$folder/memif" ] || break
    sleep 0.1
  done
  [ -S "$folder/memif" ] || { cat "$folder"/rank*; exit 1; }
  sleep 2
  if [ "$first" = 0 ]; then order=("$zero" "$one"); else order=("$one" "$zero"); fi
  for pid in "${order[@]}"; do
    kill -0 "$pid" 2>/dev/null || { cat "$folder"/rank*; exit 1; }
  done
  kill -9 "${order[0]}"
  sleep 0.2
  kill -9 "${order[1]}" 2>/dev/null || true  # It may have noticed, and left.
  wait "${order[@]}" 2>/dev/null || true
  port=$((port + 1))
  start 0 -b 1M -e 1M -n 5
  zero=$started
  start 1 -b 1M -e 1M -n 5
  one=$started
  for pid in "$zero" "$one"; do
    wait "$pid" || { echo "it does not start again:"; cat "$folder"/rank*; exit 1; }
  done
  grep -q "Out of bounds values : 0" "$folder/rank0" || { cat "$folder/rank0"; exit 1; }
  port=$((port + 1))
done
echo "started again, with $memory"
