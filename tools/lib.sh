# Shell functions that tools/test, tools/demo and .ci/run share. To be sourced.
# Works from any directory: the source tree is where this file's parent is.
# shellcheck shell=bash disable=SC2034  # Who sources this uses the variables.

HAWSER_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What the build needs, and what the tests need besides, by Debian's names
# (Debian 12 and Ubuntu 24.04 agree on them).
BUILD_PACKAGES=(build-essential g++ cmake ninja-build libabsl-dev
                libgtest-dev libgmock-dev libbenchmark-dev nlohmann-json3-dev)
TEST_PACKAGES=(clang libclang-rt-dev pkg-config python3)
# For RDMA and for the machine in which it is tested; without them that is not.
SOFTROCE_PACKAGES=(libibverbs-dev ibverbs-providers rdma-core qemu-system-x86
                   busybox-static kmod iproute2 nftables)
# For DPDK and the ports in which it is tested; without them that is not built.
DPDK_PACKAGES=(libdpdk-dev iproute2)
# For hosts with planes of their own; without them those tests are skipped.
TESTBED_PACKAGES=(iproute2 nftables ethtool)
# Taken if the system offers it: other versions lay the code out differently.
FORMAT_PACKAGE=clang-format-14

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Runs a command as root, without ever asking for a password where nobody could
# type one.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] && return
  command -v sudo >/dev/null || return 1
  [ -t 0 ] || sudo -n true 2>/dev/null
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    "$@" </dev/null
}

# ensure_packages NAME...: installs what is missing; asks nothing, and touches
# nothing, when all is there.
ensure_packages() {
  local missing=() tool package
  if ! command -v dpkg-query >/dev/null; then
    # Not Debian: its names mean nothing here, so look for the programs.
    for tool in cmake ninja g++; do
      command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] ||
      die "this is neither Debian nor Ubuntu; please install ${missing[*]}," \
        "abseil and GoogleTest by hand, and run this again"
    return
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null || ! can_be_root; then
    die "these packages are missing, and installing needs root:" \
      "apt-get install ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null &&
         apt_install "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    die "could not install ${missing[*]} (is the network there?)"
  fi
  rm -f "$log"
}

# try_packages NAME...: as ensure_packages, for what we can do without: what is
# not to be had is silently left out.
try_packages() {
  command -v dpkg-query >/dev/null || return 0
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null && can_be_root || return 0
  # A new system has no list of what there is.
  is_offered "${missing[0]}" ||
    as_root apt-get -o DPkg::Lock::Timeout=300 update >/dev/null 2>&1 \
      </dev/null || true
  local offered=()
  for package in "${missing[@]}"; do
    ! is_offered "$package" || offered+=("$package")
  done
  # All at once is faster; where one cannot be had, the others still can.
  [ ${#offered[@]} = 0 ] || apt_install "${offered[@]}" >/dev/null 2>&1 ||
    for package in "${offered[@]}"; do
      apt_install "$package" >/dev/null 2>&1 || true
    done
}

is_offered() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

# How many compilers at once: as many as there are cores, and no more than there
# is memory for (1 GiB each is ample, the sanitizers' builds included).
jobs_here() {
  local cores memory_gib
  cores=$(nproc)
  memory_gib=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  [ "${memory_gib:-0}" -ge 1 ] || memory_gib=1
  echo $((cores < memory_gib ? cores : memory_gib))
}

# build PRESET [TARGET...]: configures and builds in build/PRESET. Waits for who
# is at that already.
build() {
  local preset=$1 arguments=() turn
  shift
  mkdir -p "$HAWSER_ROOT/build"
  exec {turn}>"$HAWSER_ROOT/build/.$preset.lock"
  flock "$turn"
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache
  fi
  [ $# = 0 ] || arguments=(--target "$@")
  local status=0
  (cd "$HAWSER_ROOT" && cmake --preset "$preset" &&
    cmake --build --preset "$preset" -j "$(jobs_here)" "${arguments[@]}") ||
    status=$?
  exec {turn}>&-
  return "$status"
}
