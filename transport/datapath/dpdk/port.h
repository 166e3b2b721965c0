// One port of DPDK's, set up with one queue each way and started.
// Knows: drivers, what each can carry, and how it is waited for.  Never: peers,
// what is in a frame.
#pragma once

#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/time.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/dpdk.h"
#include "transport/net/address.h"
#include "transport/net/frame.h"

namespace hawser {

// As DpdkModule::describe.
bool DescribePort(const DpdkPort& port, Interface* found, std::string* error);

// The clock that DPDK counts cycles by.
Time PortNow();

class Port {
 public:
  // Frames that may wait in each direction, here or at the driver.
  static constexpr uint16_t kQueue = 1024;

  // Buffers that the owner may have at once, beside those that wait in the
  // driver's queues.
  static constexpr uint32_t kHeld = 2048;
  // Time for the far side to answer, after which it is called again.
  static constexpr Duration kCallPause = Duration::Millis(200);

  // Gives the port back, as it is, for whoever wants it next.
  struct Release {
    void operator()(Port* port) const;
  };
  using Holder = std::unique_ptr<Port, Release>;

  // While it lives, buffers of all ports are taken from and given back to their
  // caches. DPDK gives those to threads of its own alone, by number; but as a
  // port has one owner, and that one thread at a time, any number does.
  class Turn {
   public:
    Turn() : before_(RTE_PER_LCORE(_lcore_id)) { RTE_PER_LCORE(_lcore_id) = 0; }
    ~Turn() { RTE_PER_LCORE(_lcore_id) = before_; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    const unsigned before_;
  };

  // Nobody else has it meanwhile. Once started a port stays so for as long as
  // the process lives: drivers are not made to be stopped and started again
  // (memif's frees twice what it shares with a peer that leaves meanwhile), and
  // the second owner need not wait for a link. nullptr, and a sentence in
  // `error`.
  static Holder Take(const DpdkPort& wanted, std::string* error);

  uint32_t owners() const { return owners_; }  // So far, this one included.
  const MacAddress& mac() const { return mac_; }
  uint32_t mtu() const { return mtu_; }  // Bytes of an IP packet.
  ChecksumBy checksum_by() const { return checksum_by_; }
  // Send has read all bytes when it returns, so a packet may have some that
  // are not its own.
  bool reads_at_once() const { return reads_at_once_; }
  // Readable when something has come; empty: the port must be looked at.
  const std::vector<int>& descriptors() const { return descriptors_; }
  // Asks the driver; and calls for the far side where that is for us to do.
  bool CheckUp(Time now);
  void AddTo(DatapathCounts* counts) const;  // What the driver counts.

  rte_mbuf* Alloc() {
    return spare_count_ > 0 || TakeSpares() ? spares_[--spare_count_] : nullptr;
  }
  // How many of the first it took; they are no longer the caller's.
  uint16_t Send(rte_mbuf** frames, uint16_t count);
  // Fills up to `count`, which are the caller's to free.
  uint16_t Receive(rte_mbuf** frames, uint16_t count) {
    return rte_eth_rx_burst(id_, 0, frames, count);
  }

 private:
  Port() = default;
  bool SetUp(const DpdkPort& wanted, std::string* error);
  bool ChooseMtu(const DpdkPort& wanted, const rte_eth_dev_info& device,
                 std::string* error);
  bool Configure(const rte_eth_dev_info& device, std::string* error);
  bool MakePool(const rte_eth_dev_info& device, std::string* error);
  bool TakeSpares();

  uint16_t id_ = RTE_MAX_ETHPORTS;
  bool taken_ = false;
  bool started_ = false;
  bool calls_ = false;  // The far side hears of us when the port starts.
  Time called_at_;
  uint32_t owners_ = 0;
  MacAddress mac_;
  uint32_t mtu_ = 0;
  uint16_t driver_mtu_ = 0;    // As the driver is told; 0: it is not.
  uint32_t buffer_bytes_ = 0;  // Of one frame.
  uint32_t most_buffer_bytes_ = UINT16_MAX;
  uint32_t driver_buffers_ = 0;  // It holds so many, besides.
  ChecksumBy checksum_by_ = ChecksumBy::kUs;
  bool reads_at_once_ = false;
  rte_mempool* pool_ = nullptr;
  // Taken by the dozen, which costs half as much as one by one.
  std::array<rte_mbuf*, 32> spares_ = {};
  size_t spare_count_ = 0;
  uint16_t rx_queue_ = kQueue, tx_queue_ = kQueue;
  std::vector<int> descriptors_;
};

}  // namespace hawser
