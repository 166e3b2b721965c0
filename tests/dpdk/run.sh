#!/usr/bin/env bash
# What needs ports of DPDK's: makes some, and runs a program with them.
#   run.sh ports KIND COMMAND...   the command, with two ports joined to each
#                                  other, as HAWSER_TEST_DPDK_EAL and
#                                  HAWSER_TEST_DPDK_PORTS
# KIND: memif, memif6 (IPv6, and a VLAN tag), af_packet, af_xdp, tap. The latter
# need root: they are a veth pair in a network namespace of its own, or two
# interfaces of which each gets what the other one sends. memif-3, af_packet-3,
# tap-3: the same, with so many engines on each port
# (HAWSER_TEST_DPDK_QUEUES); DPDK takes veth for an interface of one queue, so
# not af_xdp. HAWSER_TEST_DPDK_CAN says what else such a port can: "call" who
# waits, and "pair" each queue with the far side's of that number.
# Exits with 77 and a reason where that cannot be had.
set -euo pipefail

skip() { echo "skipped: $*"; exit 77; }

# Frees whoever starts from hugepages, which not every machine has to spare.
readonly EAL="--no-pci --no-huge -m 512"
readonly MEMIF="id=0,bsize=9216,socket-abstract=yes,socket=hawser-test-$$"

own_namespace() {
  [ "$(id -u)" = 0 ] || skip "$kind needs root"
  [ "${PORTS_NAMESPACE-}" = "$PPID" ] || {
    unshare -n true 2>/dev/null || skip "no network namespace can be made"
    PORTS_NAMESPACE=$$ unshare -n "$0" ports "$kind" "${command[@]}"
    exit
  }
}

veth_pair() {
  own_namespace
  ip link add hwa type veth peer name hwb 2>/dev/null ||
    skip "no veth pair can be made"
  ip link set hwa mtu "$1" up
  ip link set hwb mtu "$1" up
}

tap_pair() {
  own_namespace
  local one other
  for one in hwa hwb; do
    ip tuntap add dev "$one" mode tap multi_queue 2>/dev/null ||
      skip "no tap interface can be made"
    ip link set "$one" up
  done
  for one in hwa hwb; do
    other=hwb
    [ "$one" = hwa ] || other=hwa
    tc qdisc add dev "$one" ingress &&
      tc filter add dev "$one" parent ffff: protocol all u32 match u32 0 0 \
        action mirred egress redirect dev "$other" ||
      skip "tap interfaces cannot be joined"
  done
}

[ $# -ge 3 ] && [ "$1" = ports ] || { sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2; }
kind=$2 queues=1 can=
shift 2
command=("$@")
case $kind in *-[0-9]) queues=${kind##*-} ;; esac
case ${kind%-[0-9]} in
  memif)
    can="pair"
    eal="--vdev=net_memif0,role=server,$MEMIF --vdev=net_memif1,role=client,$MEMIF"
    ports="net_memif0 192.0.2.1/24; net_memif1 192.0.2.2/24" ;;
  memif6)
    eal="--vdev=net_memif0,role=server,$MEMIF --vdev=net_memif1,role=client,$MEMIF"
    ports="net_memif0 2001:db8::1/64 vlan 7 mtu 4000; net_memif1 2001:db8::2/64 vlan 7 mtu 4000" ;;
  af_packet)
    veth_pair 9000
    can="call"
    ring=blocksz=131072,framesz=16384,framecnt=512,qpairs=$queues
    eal="--vdev=net_af_packet0,iface=hwa,$ring --vdev=net_af_packet1,iface=hwb,$ring"
    ports="net_af_packet0 192.0.2.1/24; net_af_packet1 192.0.2.2/24" ;;
  af_xdp)
    veth_pair 3438
    can="call"
    eal="--vdev=net_af_xdp0,iface=hwa --vdev=net_af_xdp1,iface=hwb"
    ports="net_af_xdp0 192.0.2.1/24; net_af_xdp1 192.0.2.2/24" ;;
  tap)
    tap_pair
    can="call"
    eal="--vdev=net_tap0,iface=hwa --vdev=net_tap1,iface=hwb"
    ports="net_tap0 192.0.2.1/24; net_tap1 192.0.2.2/24" ;;
  *) echo "there is no kind '$kind'"; exit 2 ;;
esac
export HAWSER_TEST_DPDK_EAL="$EAL $eal" HAWSER_TEST_DPDK_PORTS=$ports
export HAWSER_TEST_DPDK_QUEUES=$queues HAWSER_TEST_DPDK_CAN=$can
exec "$@"
