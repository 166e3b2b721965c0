#!/usr/bin/env bash
# The plugin's own tests over DPDK: those with two ranks in one process, each of
# which has one of two ports that are joined.
#   plugin.sh KIND BUILD_DIRECTORY [ARGUMENT...]
# KIND: as in run.sh. Exits with 77 and a reason where there are no such ports.
set -euo pipefail

here=$(dirname "$0")
if [ "${HAWSER_TEST_DPDK_PORTS-}" = '' ]; then
  [ $# -ge 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
  kind=$1
  shift
  exec "$here/run.sh" ports "$kind" "$0" "$@"
fi
build=$1
shift
# A namespace begins without; connections are made over it.
ip link set lo up 2>/dev/null || true
# Some want more ranks, and some hold for UDP alone.
tests='MessageTest.*:Sizes/LargeMessageTest.*:CloseTest.*:LifeTest.*'
tests+=':ConnectTest.BothDirections*:ConnectTest.ConnectorComes*'
tests+=':ConnectTest.SameHandle*:ConnectTest.ListenerIsGone'
tests+='-*InFlightOnFourThreads:*ContextsComeAndGoOnManyThreads'
"$build/nccl_test" --gtest_filter="$tests" --gtest_list_tests |
  grep -q '^  ' || { echo "there is no test of that name"; exit 1; }
# Each rank loads a copy of the plugin, which lies in another folder.
HAWSER_DATAPATH=dpdk HAWSER_DPDK_EAL=$HAWSER_TEST_DPDK_EAL \
  HAWSER_DPDK_PORTS=$HAWSER_TEST_DPDK_PORTS \
  HAWSER_TEST_DEALT=HAWSER_DPDK_PORTS=$HAWSER_TEST_DPDK_PORTS \
  LD_LIBRARY_PATH="$build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
  exec "$build/nccl_test" --gtest_filter="$tests" "$@"
