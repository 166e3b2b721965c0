#!/usr/bin/env bash
# What operators and bad days do to RDMA devices, on the machine of
#   tools/softroce run --planes 2 -- tests/verbs/faults.sh WHAT BUILD_DIRECTORY
# WHAT:
#   link     a plane's link goes down under a stream, and up again
#   address  a plane loses its address, and gets it back
#   dark     a plane goes black as a whole, both ways, and light again: the
#            stream stands still for much less than that
#   module   somebody would unload the driver
#   killed   a peer is killed: the other one says so, and soon
#   comms    1,000 flows each way need no more queue pairs than one does, and
#            as many again where lanes were buried
# Exits 1 with a reason.
set -euo pipefail
what=$1 build=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() {
  echo "faults.sh $what: $*" >&2
  exit 1
}
stream() { "$here/stream.sh" "$build" --size 64K --verify "$@"; }
# Waits until a stream has begun, and a moment longer.
runs() {
  until pgrep -f 'hawser_perf client' >/dev/null; do sleep 0.1; done
  sleep 2
}
# Of both sides, while a stream runs.
most_queue_pairs() {
  local most=0 now
  stream "$@" >&2 &
  while kill -0 $! 2>/dev/null; do
    now=$(rdma resource show qp | grep -c 'comm hawser_perf' || true)
    ((now <= most)) || most=$now
    sleep 0.3
  done
  wait $! || fail "the stream failed"
  echo "$most"
}

case $what in
  link)
    stream --duration 6 &
    runs
    ip link set a1 down
    sleep 2
    ip link set a1 up
    # Both went with the link.
    ip route replace 10.88.1.2 dev a1 src 10.88.1.1
    wait $! || fail "the stream failed"
    ;;
  address)
    stream --duration 6 &
    runs
    ip addr del 10.88.1.1/32 dev a1
    sleep 2
    ip addr add 10.88.1.1/32 dev a1
    ip route replace 10.88.1.2 dev a1 src 10.88.1.1
    wait $! || fail "the stream failed"
    ;;
  dark)
    path() { "$here/../../tools/softroce_lib/path" "$@"; }
    stream --duration 8 >/tmp/dark.out &
    runs
    path 1 0 ab loss 100%
    sleep 4
    path 1 0 ab
    wait $! || fail "the stream failed"
    cat /tmp/dark.out
    gap=$(sed -n 's/.*longest gap \([0-9]*\).*/\1/p' /tmp/dark.out)
    ((gap < 2000)) || fail "it stood still for $gap ms"
    ;;
  module)
    stream --duration 4 &
    runs
    if timeout 2 rmmod rdma_rxe 2>/dev/null; then
      fail "the module was unloaded while it was in use"
    fi
    wait $! || fail "the stream failed"
    ;;
  killed)
    export HAWSER_PEER_TIMEOUT_MS=2000
    stream --duration 30 >/tmp/killed.out 2>&1 &
    stream=$!
    runs
    pkill -KILL -f 'hawser_perf server'
    began=$SECONDS
    wait "$stream" && fail "the client did not notice"
    grep -q 'is lost\|closed the control line' /tmp/killed.out ||
      fail "$(tail -n 1 /tmp/killed.out)"
    ((SECONDS - began <= 8)) || fail "it took $((SECONDS - began)) s"
    tail -n 2 /tmp/killed.out
    ;;
  comms)
    # Where each path has queue pairs of its own; and so many handshakes take
    # their time.
    export HAWSER_VERBS_MODE=uc HAWSER_HANDSHAKE_TIMEOUT_MS=60000
    few=$(most_queue_pairs --duration 3 --size 4K)
    many=$(most_queue_pairs --duration 3 --size 4K --flows 1000 --depth 1 \
      --both-ways)
    echo "queue pairs: $few with one flow, $many with 1000 each way"
    [ "$few" -gt 0 ] || fail "no queue pair was counted"
    # A lane that was buried meanwhile has left a second one.
    ((many <= 2 * few)) || fail "$many queue pairs"
    ;;
  *) fail "no such fault" ;;
esac
