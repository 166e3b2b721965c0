#!/usr/bin/env bash
# The unmodified libnccl over DPDK, two ranks joined by shared memory.
#   nccl.sh RUNNER BUILD_DIRECTORY [ARGUMENT...]
# RUNNER as in tests/nccl/real_nccl.sh; exits with what it exits with, and with
# 77 and a reason where there is none.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
runner=$1 build=$2
shift 2
[ -x "$runner" ] || { echo "skipped: no runner for the real libnccl"; exit 77; }
own=()
for rank in 0 1; do
  roles=(server client)
  own+=(--env "RANK_${rank}_HAWSER_DPDK_EAL=--no-pci --no-huge -m 512 --vdev=net_memif0,role=${roles[rank]},id=0,bsize=9216,socket-abstract=yes,socket=hawser-$$"
    --env "RANK_${rank}_HAWSER_DPDK_PORTS=net_memif0 10.9.0.$((rank + 1))/30")
done
exec "$runner" --plugin "$build/libnccl-net-hawser.so" --ranks 2 --timeout 60 \
  --env HAWSER_IFNAME=lo --env HAWSER_DATAPATH=dpdk \
  --env LD_PRELOAD="$build/librank_environment.so" "${own[@]}" "$@"
