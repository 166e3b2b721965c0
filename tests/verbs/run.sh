#!/usr/bin/env bash
# What needs RDMA devices, in the machine that tools/softroce makes:
#   tools/softroce run --planes 4 -- tests/verbs/run.sh BUILD_DIRECTORY
# HAWSER_NCCL_CPU may name a runner for the real libnccl (docs/testing.md). The
# last line is "passed failed skipped"; exits 1 if anything failed.
set -uo pipefail
build=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
passed=0 failed=0 skipped=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The machine is emulated: a turn of its scheduler is 4 ms, and what spins takes
# it from the kernel's own work, which carries the packets. So whoever spins
# gives way, and delay is congestion only where there is very much of it.
export HAWSER_TARGET_DELAY_US=20000 HAWSER_RTO_MIN_US=50000
gives_way=(nice -n 19)

# check SECONDS WHAT COMMAND...
check() {
  local limit=$1 what=$2 began=$SECONDS status=0
  shift 2
  timeout "$limit" "${gives_way[@]}" "$@" >"$scratch/out" 2>&1 || status=$?
  case $status in
    0) passed=$((passed + 1)) ;;
    3) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
  esac
  case $status in
    0) echo "ok      $((SECONDS - began)) s  $what" ;;
    3) echo "skipped $((SECONDS - began)) s  $what: $(tail -n 1 "$scratch/out")" ;;
    *) echo "FAILED  $((SECONDS - began)) s  $what   (status $status)"
      tail -n 40 "$scratch/out" | sed 's/^/    | /' ;;
  esac
}

# What the kernel still holds for processes that have ended; its own have a
# name in brackets.
check_left_behind() {
  local held
  held=$(for what in qp mr cq pd; do rdma resource show "$what"; done |
    grep -v 'comm \[')
  if [ -z "$held" ]; then
    passed=$((passed + 1))
    echo "ok           nothing is left behind"
  else
    failed=$((failed + 1))
    echo "FAILED       nothing is left behind, but"
    sed 's/^/    | /' <<<"$held"
  fi
}

export HAWSER_TEST_PORTS="a0 b0"
check 120 "the promises of a datapath" "$build/verbs_test"
# Memory of a GPU, by each way in which a NIC may reach it, and by none.
gpu() {
  check 120 "memory of a GPU, reached by $1" env HAWSER_TEST_GPU="$1" \
    HAWSER_TEST_PATH="$here/../../tools/softroce_lib/path" \
    LD_LIBRARY_PATH="$build:$build/standin" "${@:2}" \
    "$build/verbs_test" --gtest_filter='*GpuTest*:CarryTest*'
}
gpu address
gpu dmabuf LD_PRELOAD="$build/libverbs_dmabuf.so"
gpu none
for mode in ud uc rc; do
  # Each of two ranks in one process has a device of its own.
  check 120 "the plugin's tests, $mode" env HAWSER_DATAPATH=verbs \
    HAWSER_VERBS_MODE="$mode" HAWSER_PATHS=8 LD_LIBRARY_PATH="$build" \
    HAWSER_TEST_DEALT='HAWSER_IB_HCA==a0;=b0' "$build/nccl_test" \
    --gtest_filter='MessageTest.*:CloseTest.*-*InFlightOnFourThreads'
  for ranks in 2 4; do
    check 120 "all-reduce, $mode, $ranks ranks" \
      env HAWSER_VERBS_MODE="$mode" HAWSER_PATHS=8 \
      "$here/ranks.sh" "$build" "$ranks" -b 4K -e 128K -f 32 -n 3 -w 1
  done
done
for mode in ud uc rc; do
  check 60 "a stream through a storm, $mode" \
    env HAWSER_VERBS_MODE="$mode" "$here/storm.sh" "$build" 8
  check 60 "a plane goes dark, $mode" \
    env HAWSER_VERBS_MODE="$mode" "$here/faults.sh" dark "$build"
done
for fault in link address module killed comms; do
  check 90 "$fault" "$here/faults.sh" "$fault" "$build"
done
if [ -n "${HAWSER_NCCL_CPU-}" ]; then
  # Its memory is called a GPU's, and is flushed.
  for mode in uc rc; do
    check 200 "the real libnccl, GPUDirect, 2 ranks, $mode" env \
      HAWSER_DATAPATH=verbs HAWSER_VERBS_MODE="$mode" HAWSER_TEST_GPU=address \
      VERBS_RANK_0==a0 VERBS_RANK_1==b0 LD_LIBRARY_PATH="$build/standin" \
      "$HAWSER_NCCL_CPU" --gdr --env LD_PRELOAD="$build/libverbs_by_rank.so" \
      --plugin "$build/libnccl-net-hawser.so" --ranks 2 --op allreduce \
      --sizes 4K,1M --iters 1 --warmup 0 --timeout 100
  done
  for mode in ud uc rc; do
    check 200 "the real libnccl, 2 ranks, $mode" env HAWSER_DATAPATH=verbs \
      HAWSER_VERBS_MODE="$mode" VERBS_RANK_0==a0 VERBS_RANK_1==b0 \
      "$HAWSER_NCCL_CPU" --env LD_PRELOAD="$build/libverbs_by_rank.so" \
      --plugin "$build/libnccl-net-hawser.so" --ranks 2 --op allreduce \
      --sizes 4K,1M,16M --iters 1 --warmup 0 --timeout 100
  done
fi
check_left_behind

echo "$passed $failed $skipped"
[ "$failed" = 0 ]
