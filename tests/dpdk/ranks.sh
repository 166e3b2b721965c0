#!/usr/bin/env bash
# Ranks of all_reduce_perf on this machine, joined by ports of DPDK's.
#   ranks.sh KIND BUILD_DIRECTORY RANKS [ARGUMENT...]
# KIND: memif (RANKS: 2, 4, 8; shared memory, a cable between any two ranks),
# af_packet or af_xdp (root alone; a bridge). RANKS_PLANES: how many such
# bridges, br0, br1...; RANKS_CONDITIONS: commands that make them worse before
# anybody starts. RANKS_ENGINES: how many engines share each port, which
# af_xdp does not have over veth. RANKS_EAL: where memory comes from, and how
# much.
# Exits with the first rank's failure, with 77 and a reason where there are no
# such ports, or 0.
set -euo pipefail

skip() { echo "skipped: $*"; exit 77; }
[ $# -ge 3 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
all=("$@")
kind=$1 build=$2 ranks=$3
shift 3
planes=${RANKS_PLANES:-1}
engines=${RANKS_ENGINES:-1}
eal_memory=${RANKS_EAL---no-huge -m 512}

if [ "$kind" != memif ] && [ "${RANKS_NAMESPACE-}" != "$PPID" ]; then
  [ "$(id -u)" = 0 ] || skip "$kind needs root"
  unshare -n true 2>/dev/null || skip "no network namespace can be made"
  RANKS_NAMESPACE=$$ unshare -n "$0" "${all[@]}"
  exit
fi

# A cable joins rank a and rank b on plane a ^ b - 1 of both: so each has all
# others, and no two cables meet.
memif_ports() {
  local rank=$1 plane other cable end role port
  for ((plane = 0; plane < ranks - 1; plane++)); do
    other=$((rank ^ (plane + 1))) port=net_memif$plane
    if ((rank < other)); then
      cable=$((rank * ranks + other)) end=1 role=server
    else
      cable=$((other * ranks + rank)) end=2 role=client
    fi
    eal+=" --vdev=$port,role=$role,id=$cable,bsize=9216,socket-abstract=yes"
    eal+=",socket=hawser-$$-$cable"
    ports+="$port 10.9.$cable.$end/30;"
  done
}

bridge_ports() {
  local rank=$1 plane name mtu ring=
  case $kind in
    af_packet)
      mtu=9000
      ring=,blocksz=131072,framesz=16384,framecnt=512,qpairs=$engines ;;
    af_xdp) mtu=3438 ;;
    *) echo "there is no kind '$kind'"; exit 2 ;;
  esac
  for ((plane = 0; plane < planes; plane++)); do
    name=r$rank-$plane
    [ "$rank" != 0 ] || ip link add "br$plane" mtu "$mtu" type bridge 2>/dev/null ||
      skip "no bridge can be made"
    ip link add "$name" mtu "$mtu" type veth peer name "b$name" mtu "$mtu"
    ip link set "b$name" master "br$plane" up
    ip link set "$name" up
    ip link set "br$plane" up
    eal+=" --vdev=net_$kind$plane,iface=$name$ring"
    ports+="net_$kind$plane 10.9.$plane.$((rank + 1))/24;"
  done
}

[ "$kind" = memif ] || ip link set lo up
declare -a eals portss
for ((rank = 0; rank < ranks; rank++)); do
  eal="--no-pci $eal_memory" ports=
  if [ "$kind" = memif ]; then memif_ports "$rank"; else bridge_ports "$rank"; fi
  eals[rank]=$eal portss[rank]=$ports
done

eval "${RANKS_CONDITIONS-}"

pids=()
for ((rank = 0; rank < ranks; rank++)); do
  env HAWSER_DATAPATH=dpdk HAWSER_IFNAME=lo HAWSER_ENGINES="$engines" \
    HAWSER_DPDK_EAL="${eals[rank]}" \
    HAWSER_DPDK_PORTS="${portss[rank]}" \
    "$build/all_reduce_perf" --plugin "$build/libnccl-net-hawser.so" \
    --rank "$rank" --ranks "$ranks" --root 127.0.0.1:$((7700 + $$ % 200)) "$@" &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || { one=$?; [ "$status" != 0 ] || status=$one; }
done
exit "$status"
