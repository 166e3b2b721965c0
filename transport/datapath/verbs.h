// RDMA ports, and planes over them: the way to libibverbs, loaded when asked.
// Knows: a shared object of ours, NCCL's selection syntax.  Never: libibverbs
// itself, which only that object needs.
//
// libhawser-verbs.so is looked for as module_file.h says. Where it or
// libibverbs is missing, Load says so and everything else works as before.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/interfaces.h"

namespace hawser {

struct VerbsModule;

// How payload travels. kUd: datagrams, which the host places. kUc, kRc: a queue
// pair per way, unreliable or reliable, whose writes the far NIC places; what
// is small, and acks, go over the same queue pair as messages. kAuto: what the
// device turns out to do well.
enum class VerbsMode : uint8_t { kAuto, kUd, kUc, kRc };

struct VerbsOptions {
  VerbsMode mode = VerbsMode::kAuto;
  std::string device;
  uint8_t port = 1;
  uint8_t gid_index = 0;
  bool software = false;             // As Interface::software.
  uint16_t entropies = 16;           // 1..kMaxPaths
  uint32_t max_packet_bytes = 4096;  // Never more, whatever the MTU. >= 256.
  uint8_t traffic_class = 0;         // Its ECN bits are ours.
  uint8_t service_level = 0;         // 0..15
  bool gpus = false;  // Find out whether their memory can be reached.
};

class VerbsLibrary {
 public:
  // Once per process; it then stays loaded. NotFound: it, or something that it
  // needs, is not here. FailedPrecondition: it is of another version.
  static absl::StatusOr<const VerbsLibrary*> Load();

  // Every port that is up and that `selection` takes, in the system's order.
  // `selection` has the syntax of NCCL_IB_HCA: that of NCCL_SOCKET_IFNAME, and
  // each name may be followed by ":PORT". `gid_index` -1: RoCE v2, an address
  // of the family; kAny: IPv4 where there is one, then a routed IPv6 address,
  // then a link-local one. `address` stays empty. NotFound, naming what there
  // is, if nothing is left.
  absl::StatusOr<std::vector<Interface>> FindPorts(std::string_view selection,
                                                   AddressFamily family,
                                                   int gid_index) const;

  // The Status says which step failed. Where the mode is kAuto, `choice` says
  // which was taken, and why; and where there is a GPU, what was found of it.
  absl::StatusOr<std::unique_ptr<Datapath>> Open(const VerbsOptions& options,
                                                 std::string* choice) const;

 private:
  explicit VerbsLibrary(const VerbsModule* module) : module_(module) {}
  const VerbsModule* module_;
};

// True if `device`:`port` is chosen by a non-empty `selection`.
bool SelectsPort(std::string_view selection, std::string_view device,
                 uint8_t port);

}  // namespace hawser
