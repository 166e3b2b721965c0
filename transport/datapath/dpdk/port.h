// A port of DPDK's, started once; and its queue pairs, one for each engine.
// Knows: drivers, what each can carry, and how it is waited for.  Never: peers,
// what is in a frame.
#pragma once

#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_spinlock.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/time.h"
#include "transport/datapath/datapath.h"
#include "transport/datapath/dpdk.h"
#include "transport/datapath/dpdk/arrival_clock.h"
#include "transport/datapath/dpdk/steering.h"
#include "transport/net/address.h"
#include "transport/net/frame.h"

namespace hawser {

class Port;

// As DpdkModule::describe.
bool DescribePort(const DpdkPort& port, Interface* found, std::string* error);

// The clock that DPDK counts cycles by.
Time PortNow();

// One queue each way of a port, which one engine has at a time.
class PortQueue {
 public:
  // Frames that may wait in each direction, here or at the driver.
  static constexpr uint16_t kFrames = 1024;
  // Buffers that the owner may have at once, beside those that wait in the
  // driver's queues, and those that wait to be taken from other engines.
  static constexpr uint32_t kHeld = 2048;
  // Taken by the dozen, which costs half as much as one by one.
  static constexpr uint32_t kSpares = 32;

  // Gives it back, as it is, for whoever wants it next.
  struct Release {
    void operator()(PortQueue* queue) const;
  };
  using Holder = std::unique_ptr<PortQueue, Release>;

  // While it lives, buffers are taken from and given back to this queue's share
  // of their pool's cache. DPDK gives shares to threads of its own alone, by
  // number; but as a queue has one owner, and that one thread at a time, the
  // queue's number will do.
  class Turn {
   public:
    explicit Turn(const PortQueue& queue) : before_(RTE_PER_LCORE(_lcore_id)) {
      RTE_PER_LCORE(_lcore_id) = queue.index_;
    }
    ~Turn() { RTE_PER_LCORE(_lcore_id) = before_; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    const unsigned before_;
  };

  // Nobody else has it meanwhile. The first who takes one says how many there
  // are, 1..Steering::kMostQueues, and then the port is started; others must
  // want as many. It stays so for as long as the process lives: drivers are not
  // made to be stopped and started again (memif's frees twice what it shares
  // with a peer that leaves meanwhile), and the second owner need not wait for
  // a link. nullptr, and a sentence in `error`.
  static Holder Take(const DpdkPort& wanted, uint16_t queues,
                     std::string* error);

  PortQueue(Port* port, uint16_t index) : port_(port), index_(index) {}

  const Port& port() const { return *port_; }
  uint16_t index() const { return index_; }
  uint32_t owners() const { return owners_; }  // So far, this one included.
  // Readable when something has come.
  const std::vector<int>& descriptors() const { return descriptors_; }
  // Becomes readable when something comes after Arm; -1: there is none. Where
  // there are no descriptors either, the queue must be looked at.
  int interrupt() const { return interrupt_; }
  void Arm();
  void Disarm();
  Steering& steering();

  // What comes for this address and UDP port is for this queue, until it is
  // given back.
  void Listen(const DpdkPort& wanted, uint16_t udp_port);
  // Asks the driver for the link; and calls for the far side where that is for
  // us to do. While there is none, the queue of such a port must be left alone.
  bool CheckUp(Time now);
  // How long ago the port took the frame in; 0 where it does not say.
  Duration Waited(const rte_mbuf* frame, Time now) const;
  // What the driver counts for the whole port, and so the first queue tells.
  void AddTo(DatapathCounts* counts) const;

  rte_mbuf* Alloc() {
    return spare_count_ > 0 || TakeSpares() ? spares_[--spare_count_] : nullptr;
  }
  // A copy that somebody else will free. nullptr: there is no buffer.
  rte_mbuf* Copy(const rte_mbuf* frame);
  // How many of the first it took; they are no longer the caller's.
  uint16_t Send(rte_mbuf** frames, uint16_t count);
  // Fills up to `count`, which are the caller's to free.
  uint16_t Receive(rte_mbuf** frames, uint16_t count);

 private:
  friend class Port;
  bool TakeSpares();
  void ReadClock(Time now);

  Port* const port_;
  const uint16_t index_;
  bool taken_ = false;
  bool sees_link_ = false;  // Its owner was told that there is one.
  uint32_t owners_ = 0;
  rte_flow* rule_ = nullptr;  // By which the NIC finds it.
  std::vector<int> descriptors_;
  int interrupt_ = -1;
  ArrivalClock clock_;
  Time clock_read_;
  std::array<rte_mbuf*, kSpares> spares_ = {};
  size_t spare_count_ = 0;
};

class Port {
 public:
  // A frame's time of arrival, by a clock of the port's.
  struct Stamps {
    bool are_there = false;
    int offset = 0;     // In a buffer...
    uint64_t flag = 0;  // ...that has this one, if it has a stamp.
  };

  const MacAddress& mac() const { return mac_; }
  uint32_t mtu() const { return mtu_; }  // Bytes of an IP packet.
  ChecksumBy checksum_by() const { return checksum_by_; }
  // Send has read all bytes when it returns, so a packet may have some that
  // are not its own.
  bool reads_at_once() const { return reads_at_once_; }
  // A cable with a queue for each queue of the far side: those it must have.
  bool pairs_queues() const { return pairs_queues_; }
  uint16_t queues() const { return static_cast<uint16_t>(queues_.size()); }
  // It is started anew, to be heard by the far side, while there is no link.
  bool calls() const { return calls_; }

 private:
  friend class PortQueue;
  // How often its clock is read: what lies between is told by its pace. And
  // how long that may take, or we were interrupted, and the two say nothing.
  static constexpr Duration kClockPause = Duration::Millis(100);
  static constexpr Duration kClockSlack = Duration::Micros(20);
  // How often a far side is called that is not there; and how long one that is
  // may take to answer. To hang up while it does so is more than memif's driver
  // survives: its own thread may be in the middle of that.
  static constexpr Duration kCallPause = Duration::Millis(200);
  static constexpr Duration kAnswerPause = Duration::Seconds(2);

  Port() : lock_(RTE_SPINLOCK_INITIALIZER) {}
  bool SetUp(const DpdkPort& wanted, uint16_t queues, std::string* error);
  bool ChooseMtu(const DpdkPort& wanted, const rte_eth_dev_info& device,
                 std::string* error);
  bool ChooseQueues(const rte_eth_dev_info& device, uint16_t queues,
                    std::string* error);
  bool Start(const rte_eth_dev_info& device, bool interrupts,
             std::string* error);
  bool Configure(const rte_eth_dev_info& device, bool interrupts,
                 std::string* error);
  bool MakePool(const rte_eth_dev_info& device, std::string* error);
  bool SetUpQueues(const rte_eth_dev_info& device, std::string* error);
  void FindInterrupts();
  void FindStamps(const rte_eth_dev_info& device);
  bool CheckUp(PortQueue& queue, Time now);

  uint16_t id_ = RTE_MAX_ETHPORTS;
  bool calls_ = false;
  rte_spinlock_t lock_;  // Over the next two, and the queues' sees_link_.
  bool started_ = false;
  Time called_at_;

  MacAddress mac_;
  uint32_t mtu_ = 0;
  uint16_t driver_mtu_ = 0;    // As the driver is told; 0: it is not.
  uint32_t buffer_bytes_ = 0;  // Of one frame.
  uint32_t most_buffer_bytes_ = UINT16_MAX;
  uint32_t driver_buffers_ = 0;  // It holds so many, besides, for each queue.
  ChecksumBy checksum_by_ = ChecksumBy::kUs;
  bool reads_at_once_ = false;
  bool pairs_queues_ = false;
  Stamps stamps_;
  rte_mempool* pool_ = nullptr;
  uint16_t rx_frames_ = PortQueue::kFrames, tx_frames_ = PortQueue::kFrames;
  std::unique_ptr<Steering> steering_;
  std::vector<std::unique_ptr<PortQueue>> queues_;
};

inline Steering& PortQueue::steering() { return *port_->steering_; }

inline Duration PortQueue::Waited(const rte_mbuf* frame, Time now) const {
  const Port::Stamps& stamps = port_->stamps_;
  if ((frame->ol_flags & stamps.flag) == 0) return Duration();
  return clock_.Waited(
      *RTE_MBUF_DYNFIELD(frame, stamps.offset, const rte_mbuf_timestamp_t*),
      now);
}

inline uint16_t PortQueue::Receive(rte_mbuf** frames, uint16_t count) {
  return rte_eth_rx_burst(port_->id_, index_, frames, count);
}

}  // namespace hawser
