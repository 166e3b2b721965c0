#!/usr/bin/env bash
# The unmodified libnccl over the plugin, on host threads instead of GPUs.
#   real_nccl.sh RUNNER PLUGIN [--quick] [--counts FILE]
# RUNNER starts ranks, checks every result bit for bit, and exits 0 (good), 1 (a
# failure) or 3 (not supported on this machine). So does this script; its last
# line then says why. FILE gets "passed failed skipped".
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
runner=$1 plugin=$2 quick=0 counts=/dev/null
shift 2
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=1 ;;
    --counts) counts=$2; shift ;;
    *) echo "unknown argument '$1'" >&2; exit 2 ;;
  esac
  shift
done
[ -r "$plugin" ] || { echo "no plugin at $plugin" >&2; exit 1; }

passed=0 failed=0 skipped=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# check ARGUMENT...: one start of the runner. Over loopback, and with a bounded
# wait, so that what hangs is a failure and not a hang of ours.
check() {
  local status=0 began=$SECONDS
  "$runner" --plugin "$plugin" --env HAWSER_IFNAME=lo --timeout 60 "$@" \
    >"$scratch/out" 2>&1 || status=$?
  case "$status" in
    0) passed=$((passed + 1))
      echo "ok      $((SECONDS - began)) s  $*" ;;
    3) skipped=$((skipped + 1))
      echo "skipped $((SECONDS - began)) s  $*: $(tail -n 1 "$scratch/out")" ;;
    *) failed=$((failed + 1))
      echo "FAILED  $((SECONDS - began)) s  $*   (status $status)"
      tail -n 25 "$scratch/out" | sed 's/^/    | /' ;;
  esac
  return 0
}

# Is there a libnccl at all that the runner knows? If not, nothing below says
# anything about the plugin.
status=0
"$runner" --net Socket --sizes 4 --iters 1 --warmup 0 --timeout 60 \
  >"$scratch/out" 2>&1 || status=$?
if [ "$status" = 3 ]; then
  tail -n 1 "$scratch/out"
  exit 3
fi

readonly RINGS=allreduce,allgather,reducescatter,broadcast,reduce
if [ "$quick" = 1 ]; then
  sizes=4,100,4K,300K large=8M small=4,4K long=300K runs=2
else
  sizes=4,100,4K,300K,4M large=64M small=4,100,4K,300K long=2M runs=5
fi

for ranks in 2 4; do
  # Every operation, sizes on both sides of a slice's.
  check --ranks "$ranks" --op all --sizes "$sizes" --iters "$runs"
  # Long messages: once each, they are about volume.
  check --ranks "$ranks" --op all --sizes "$large" --iters 1 --warmup 0 \
    --check=1 --place out
  # The receiver reads the buffer while it is being filled, and looks at each
  # line twice, which takes long where lines are of 8 bytes.
  check --ranks "$ranks" --proto LL --op all --sizes "$small" --iters "$runs" \
    --tear-check
  check --ranks "$ranks" --proto LL --op all --sizes "$long" --iters 1 \
    --tear-check
  check --ranks "$ranks" --proto LL128 --op "$RINGS" --sizes "$small,$long" \
    --iters "$runs" --tear-check
done
# Types of every width, and a reduction in which a lost update cannot hide.
check --ranks 3 --type all --op allreduce --redop max --sizes 33,70000 --iters 1
# Small messages over LL tell that long ones, over Simple, are not watched.
check --ranks 2 --env NCCL_PROTO=LL,Simple --op allreduce --sizes 4,4K,8M \
  --iters "$runs"
# Communicators that come and go, and the plugin with them.
check --ranks 2 --reinit 3 --sizes 4,1M --iters 2
check --ranks 4 --reinit 3 --op allreduce,sendrecv --sizes 4K --iters 2
# Several at once in each process, on threads of their own.
check --ranks 2 --comms 2 --channels 4 --sizes 4,4M --iters "$runs"
# A rank dies, or leaves, in the middle: the others see an error, in time.
for ranks in 2 4; do
  check --ranks "$ranks" --sizes 4K,1M --kill-rank 1@1 \
    --env HAWSER_PEER_TIMEOUT_MS=2000
done
check --ranks 3 --sizes 4K,1M --abort-rank 0@1 --env HAWSER_PEER_TIMEOUT_MS=2000

echo "$passed $failed $skipped" >"$counts"
echo "real NCCL: $passed passed, $failed failed, $skipped skipped"
# Where nothing passed, nothing was tested.
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
