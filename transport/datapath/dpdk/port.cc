// What a driver says of itself is not always so: af_packet and memif announce
// frames of 1518 bytes and carry any that fit into what they were set up with;
// af_xdp announces 3542 and delivers nothing beyond 3456. So the table below
// has for each what was found to hold (DPDK 22.11), and an unknown driver is
// believed.
//
// Nor do these give an interrupt by DPDK's own means, as most NICs do.
// af_packet and af_xdp are sockets all the same, which the process's list of
// descriptors shows; memif is memory, and must be looked at.
#include "transport/datapath/dpdk/port.h"

#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <rte_spinlock.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <string_view>

#include "transport/datapath/dpdk/eal.h"

namespace hawser {
namespace {

constexpr uint32_t kMostIpBytes = 65535;  // Of any IPv4 packet.
constexpr uint32_t kEthernetMost = kEthernetBytes + kVlanBytes;
constexpr uint32_t kUsualMtu = 1500;
constexpr uint32_t kJumboMtu = 9000;
// Linux's packet rings begin a frame of SOCK_RAW with this much of their own:
// tpacket2_hdr and sockaddr_ll, 16 bytes for the link's header, aligned to 16,
// less the 14 that the header has (packet_mmap.rst; TPACKET_V2).
constexpr uint32_t kPacketRingBytes = 80 - kEthernetBytes;
// And the driver of DPDK wants a buffer that could hold nearly all of a slot.
constexpr uint32_t kPacketSlotBytes = TPACKET2_HDRLEN - sizeof(sockaddr_ll);
constexpr uint32_t kPacketSlotUsual = 2048;
// A chunk of XDP's memory is a page, and buffers of DPDK are chunks: beside
// its own headers and headroom this is left.
constexpr uint32_t kXdpFrameBytes = 3456;
constexpr uint32_t kXdpBufferBytes = 3840;
// Its rings have 2048 places, whatever is asked for, and there are four.
constexpr uint32_t kXdpBuffers = 4 * 2048;

constexpr unsigned kCachedBuffers = 256;

struct Driver {
  std::string_view name;
  bool is_memory;      // Nothing on the way can damage a frame.
  bool reads_at_once;  // Its Send copies all segments of a frame.
  bool calls;          // A client of its far side, unless told otherwise.
  // Its queues are those that it was made with, by this argument, and frames
  // come by all of them.
  std::string_view queues_argument;
  uint32_t usual_mtu;  // 0: its interface's, or what DPDK says.
};
constexpr Driver kDrivers[] = {
    {"net_memif", true, true, true, "", kJumboMtu},
    {"net_ring", true, false, false, "", kJumboMtu},
    {"net_af_packet", false, true, false, "qpairs", 0},
    {"net_af_xdp", false, false, false, "queue_count", 0},
};
constexpr Driver kAnyDriver = {"", false, false, false, "", 0};

const Driver& DriverOf(const rte_eth_dev_info& device) {
  for (const Driver& driver : kDrivers) {
    if (driver.name == device.driver_name) return driver;
  }
  return kAnyDriver;
}

// The value of `key` among a device's arguments "a=1,b=2"; or empty.
std::string ArgumentOf(const rte_eth_dev_info& device, std::string_view key) {
  const rte_devargs* const given = rte_dev_devargs(device.device);
  std::string_view rest = given != nullptr && given->args != nullptr
                              ? std::string_view(given->args)
                              : std::string_view();
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    const size_t equals = one.find('=');
    if (one.substr(0, equals) == key && equals != std::string_view::npos) {
      return std::string(one.substr(equals + 1));
    }
  }
  return "";
}

// Of an interface of the kernel's; 0: there is none.
uint32_t KernelMtu(const std::string& interface) {
  ifreq request = {};
  if (interface.empty() || interface.size() >= sizeof request.ifr_name) {
    return 0;
  }
  std::copy(interface.begin(), interface.end(), request.ifr_name);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool known = fd >= 0 && ioctl(fd, SIOCGIFMTU, &request) == 0;
  if (fd >= 0) close(fd);
  return known ? static_cast<uint32_t>(request.ifr_mtu) : 0;
}

// Sockets of this process, of one family.
std::vector<int> SocketsOf(int family) {
  std::vector<int> found;
  std::error_code none;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd", none)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    int domain = 0;
    socklen_t length = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
        domain == family) {
      found.push_back(fd);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<int> XdpSockets() { return SocketsOf(AF_XDP); }

// Those that listen for packets on `interface`.
std::vector<int> PacketSockets(const std::string& interface) {
  std::vector<int> found;
  const unsigned index = if_nametoindex(interface.c_str());
  if (interface.empty() || index == 0) return found;
  for (const int fd : SocketsOf(AF_PACKET)) {
    sockaddr_ll bound = {};
    socklen_t length = sizeof bound;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0 &&
        bound.sll_ifindex == static_cast<int>(index)) {
      found.push_back(fd);
    }
  }
  return found;
}

std::string Failure(const std::string& what, int error) {
  const std::string said = LastWords();
  return what + ": " + rte_strerror(error < 0 ? -error : error) +
         (said.empty() ? "" : " (" + said + ")");
}

// The index of the port; or a sentence in `error`.
bool FindPort(const std::string& name, uint16_t* id, std::string* error) {
  if (rte_eth_dev_get_port_by_name(name.c_str(), id) == 0) return true;
  std::string there;
  uint16_t other = 0;
  RTE_ETH_FOREACH_DEV(other) {
    char other_name[RTE_ETH_NAME_MAX_LEN] = "";
    rte_eth_dev_get_name_by_port(other, other_name);
    there += std::string(there.empty() ? "" : ", ") + other_name;
  }
  *error = "DPDK has no port \"" + name + "\" (" +
           (there.empty() ? "it has none" : "it has " + there) + ")";
  const std::string said = LastWords();
  if (!said.empty()) *error += "; it said: " + said;
  std::error_code none;
  if (std::filesystem::exists("/sys/bus/pci/devices/" + name, none)) {
    *error +=
        "; to mend it: modprobe vfio-pci && dpdk-devbind.py "
        "--bind=vfio-pci " +
        name;
  } else if (const std::string mend = Mend(said); !mend.empty()) {
    *error += mend;
  } else {
    *error += "; to mend it: HAWSER_DPDK_EAL=\"--vdev=" + name + ",...\"";
  }
  return false;
}

// All that were started, by name, for good; endpoints may be made by several
// threads at once.
rte_spinlock_t ports_lock = RTE_SPINLOCK_INITIALIZER;
std::map<std::string, std::unique_ptr<Port>>& AllPorts() {
  static auto* const ports = new std::map<std::string, std::unique_ptr<Port>>;
  return *ports;
}
struct Locked {
  Locked() { rte_spinlock_lock(&ports_lock); }
  ~Locked() { rte_spinlock_unlock(&ports_lock); }
};

}  // namespace

Time PortNow() {
  static const double nanos_per_cycle =
      1e9 / static_cast<double>(rte_get_timer_hz());
  return Time::FromNanos(static_cast<int64_t>(
      static_cast<double>(rte_get_timer_cycles()) * nanos_per_cycle));
}

bool DescribePort(const DpdkPort& port, Interface* found, std::string* error) {
  uint16_t id = 0;
  if (!FindPort(port.name, &id, error)) return false;
  rte_eth_dev_info device = {};
  rte_eth_link link = {};
  rte_eth_dev_info_get(id, &device);
  rte_eth_link_get_nowait(id, &link);
  found->name = found->dpdk_port = port.name;
  found->mtu = port.mtu;
  if (link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN) {
    found->speed_mbps = static_cast<int>(link.link_speed);
  }
  char path[PATH_MAX];
  if (realpath(("/sys/bus/pci/devices/" + port.name).c_str(), path) !=
      nullptr) {
    found->pci_path = path;
  }
  found->software = found->pci_path.empty();
  return true;
}

PortQueue::Holder PortQueue::Take(const DpdkPort& wanted, uint16_t queues,
                                  std::string* error) {
  const Locked locked;
  std::unique_ptr<Port>& port = AllPorts()[wanted.name];
  if (port == nullptr) {
    auto made = std::unique_ptr<Port>(new Port);
    if (!made->SetUp(wanted, queues, error)) return nullptr;
    port = std::move(made);
  }
  if (wanted.mtu != 0 && wanted.mtu != port->mtu_) {
    *error = "the port was started with mtu " + std::to_string(port->mtu_) +
             " in this process, which cannot be changed";
    return nullptr;
  }
  // Of more queues some would have nobody who looks into them.
  if (queues != port->queues()) {
    *error = "the port was started for " + std::to_string(port->queues()) +
             " engine(s) in this process, which cannot be changed, and not " +
             "for " + std::to_string(queues);
    return nullptr;
  }
  for (const auto& queue : port->queues_) {
    if (queue->taken_) continue;
    queue->taken_ = true;
    ++queue->owners_;
    return Holder(queue.get());
  }
  *error = "the port was started for " + std::to_string(port->queues()) +
           " engine(s) in this process, and serves as many already";
  return nullptr;
}

void PortQueue::Release::operator()(PortQueue* queue) const {
  const Locked locked;
  Port& port = *queue->port_;
  port.steering_->OnListening(queue->index_, 0);
  if (queue->rule_ != nullptr) {
    rte_flow_destroy(port.id_, queue->rule_, nullptr);
    queue->rule_ = nullptr;
  }
  rte_spinlock_lock(&port.lock_);
  queue->sees_link_ = false;
  rte_spinlock_unlock(&port.lock_);
  queue->taken_ = false;
}

void PortQueue::Listen(const DpdkPort& wanted, uint16_t udp_port) {
  const Locked locked;
  steering().OnListening(index_, udp_port);
  if (port_->queues() == 1) return;
  rte_flow_attr attributes = {};
  attributes.ingress = 1;
  rte_flow_item_vlan tag = {}, tag_mask = {};
  tag.tci = rte_cpu_to_be_16(wanted.vlan);
  tag_mask.tci = rte_cpu_to_be_16(0x0fff);
  rte_flow_item_ipv4 v4 = {}, v4_mask = {};
  rte_flow_item_ipv6 v6 = {}, v6_mask = {};
  const IpAddress& ip = wanted.address.address;
  uint32_t v4_address = 0;
  std::memcpy(&v4_address, ip.bytes.data(), sizeof v4_address);
  v4.hdr.dst_addr = v4_address;
  v4_mask.hdr.dst_addr = UINT32_MAX;
  std::memcpy(&v6.hdr.dst_addr, ip.bytes.data(), 16);
  std::memset(&v6_mask.hdr.dst_addr, 0xff, 16);
  rte_flow_item_udp udp = {}, udp_mask = {};
  udp.hdr.dst_port = rte_cpu_to_be_16(udp_port);
  udp_mask.hdr.dst_port = UINT16_MAX;
  std::vector<rte_flow_item> pattern = {
      {RTE_FLOW_ITEM_TYPE_ETH, nullptr, nullptr, nullptr}};
  if (wanted.vlan != kNoVlan) {
    pattern.push_back({RTE_FLOW_ITEM_TYPE_VLAN, &tag, nullptr, &tag_mask});
  }
  if (ip.is_v4()) {
    pattern.push_back({RTE_FLOW_ITEM_TYPE_IPV4, &v4, nullptr, &v4_mask});
  } else {
    pattern.push_back({RTE_FLOW_ITEM_TYPE_IPV6, &v6, nullptr, &v6_mask});
  }
  pattern.push_back({RTE_FLOW_ITEM_TYPE_UDP, &udp, nullptr, &udp_mask});
  pattern.push_back({RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr});
  const rte_flow_action_queue queue = {index_};
  const rte_flow_action actions[] = {{RTE_FLOW_ACTION_TYPE_QUEUE, &queue},
                                     {RTE_FLOW_ACTION_TYPE_END, nullptr}};
  // Most drivers of software have no rules, and refuse: engines will do it.
  rte_flow_error why = {};
  if (rte_flow_validate(port_->id_, &attributes, pattern.data(), actions,
                        &why) == 0) {
    rule_ =
        rte_flow_create(port_->id_, &attributes, pattern.data(), actions, &why);
  }
}

void PortQueue::Arm() { rte_eth_dev_rx_intr_enable(port_->id_, index_); }

void PortQueue::Disarm() { rte_eth_dev_rx_intr_disable(port_->id_, index_); }

// By both at once, as nearly as can be.
void PortQueue::ReadClock(Time now) {
  const Port::Stamps& stamps = port_->stamps_;
  if (!stamps.are_there || now - clock_read_ < Port::kClockPause) return;
  uint64_t ticks = 0;
  const Time before = PortNow();
  if (rte_eth_read_clock(port_->id_, &ticks) != 0) return;
  const Duration between = PortNow() - before;
  if (between > Port::kClockSlack) return;
  clock_read_ = now;
  clock_.OnReading(ticks, before + between / 2);
}

bool PortQueue::CheckUp(Time now) {
  ReadClock(now);
  return port_->CheckUp(*this, now);
}

void PortQueue::AddTo(DatapathCounts* counts) const {
  rte_eth_stats stats = {};
  if (index_ != 0 || rte_eth_stats_get(port_->id_, &stats) != 0) return;
  counts->port_missed += stats.imissed;
  counts->port_no_buffer += stats.rx_nombuf;
  counts->port_errors += stats.ierrors + stats.oerrors;
}

bool PortQueue::TakeSpares() {
  const auto count = static_cast<unsigned>(spares_.size());
  if (rte_pktmbuf_alloc_bulk(port_->pool_, spares_.data(), count) != 0) {
    return false;
  }
  spare_count_ = count;
  return true;
}

rte_mbuf* PortQueue::Copy(const rte_mbuf* frame) {
  return rte_pktmbuf_copy(frame, port_->pool_, 0, UINT32_MAX);
}

uint16_t PortQueue::Send(rte_mbuf** frames, uint16_t count) {
  if (port_->checksum_by_ == ChecksumBy::kPort) {
    count = rte_eth_tx_prepare(port_->id_, index_, frames, count);
  }
  return rte_eth_tx_burst(port_->id_, index_, frames, count);
}

bool Port::SetUp(const DpdkPort& wanted, uint16_t queues, std::string* error) {
  uint16_t id = 0;
  if (!FindPort(wanted.name, &id, error)) return false;
  id_ = id;
  rte_eth_dev_info device = {};
  if (const int why = rte_eth_dev_info_get(id_, &device)) {
    *error = Failure("the port does not say what it is", why);
    return false;
  }
  if (!ChooseMtu(wanted, device, error) ||
      !ChooseQueues(device, queues, error)) {
    return false;
  }
  // No driver says beforehand whether it has interrupts: some ignore that they
  // are asked for, and others fail, perhaps for want of vectors.
  if (!Start(device, /*interrupts=*/true, error) &&
      !Start(device, /*interrupts=*/false, error)) {
    return false;
  }
  FindInterrupts();
  // Neighbour discovery asks a group. A port that cannot listen to it hears
  // everything, or is told its neighbours.
  rte_eth_allmulticast_enable(id_);
  rte_ether_addr mac = {};
  rte_eth_macaddr_get(id_, &mac);
  std::copy(std::begin(mac.addr_bytes), std::end(mac.addr_bytes),
            mac_.bytes.begin());
  return true;
}

bool Port::Start(const rte_eth_dev_info& device, bool interrupts,
                 std::string* error) {
  if (!Configure(device, interrupts, error) ||
      (pool_ == nullptr && !MakePool(device, error)) ||
      !SetUpQueues(device, error)) {
    return false;
  }
  const int why = rte_eth_dev_start(id_);
  started_ = why == 0;
  called_at_ = PortNow();
  calls_ = DriverOf(device).calls && ArgumentOf(device, "role") != "server";
  if (started_ || calls_) return true;
  *error = Failure("the port does not start", why);
  return false;
}

// Of a clock that cannot be read stamps say nothing, and cost time: some
// drivers receive faster without.
void Port::FindStamps(const rte_eth_dev_info& device) {
  stamps_ = {};
  uint64_t ticks = 0;
  stamps_.are_there =
      (device.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP) != 0 &&
      rte_eth_read_clock(id_, &ticks) != -ENOTSUP &&
      rte_mbuf_dyn_rx_timestamp_register(&stamps_.offset, &stamps_.flag) == 0;
  if (!stamps_.are_there) stamps_.flag = 0;
}

// A queue that is a descriptor itself need not be armed, and cannot.
void Port::FindInterrupts() {
  for (const auto& queue : queues_) {
    const uint16_t q = queue->index_;
    if (!queue->descriptors_.empty()) continue;
    const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(id_, q);
    if (fd < 0) continue;
    const int armed = rte_eth_dev_rx_intr_enable(id_, q);
    if (armed != 0 && armed != -ENOTSUP) continue;
    rte_eth_dev_rx_intr_disable(id_, q);
    queue->interrupt_ = fd;
  }
}

bool Port::ChooseQueues(const rte_eth_dev_info& device, uint16_t queues,
                        std::string* error) {
  const Driver& driver = DriverOf(device);
  const uint16_t most = std::min(
      {device.max_rx_queues, device.max_tx_queues, Steering::kMostQueues});
  const std::string argument(driver.queues_argument);
  const std::string engines = std::to_string(queues) + " engine(s)";
  // What comes by a queue that nobody looks into would be lost.
  if (!argument.empty() && queues != device.max_rx_queues) {
    *error = "the port has " + std::to_string(device.max_rx_queues) +
             " queue(s) for " + engines + "; to mend it: HAWSER_ENGINES=" +
             std::to_string(device.max_rx_queues) + ", or " + argument + "=" +
             std::to_string(queues) + " among the port's arguments";
    return false;
  }
  if (queues > most) {
    *error = "the port has at most " + std::to_string(most) +
             " queue(s), and there are " + engines +
             "; to mend it: HAWSER_ENGINES=" + std::to_string(most);
    return false;
  }
  pairs_queues_ = driver.name == "net_memif";
  steering_ = std::make_unique<Steering>(queues);
  if (!steering_->can_call()) {
    *error = "no descriptor is left to call each of " + engines +
             " by; to mend it: a larger ulimit -n";
    return false;
  }
  for (uint16_t i = 0; i < queues; ++i) {
    queues_.push_back(std::make_unique<PortQueue>(this, i));
  }
  return true;
}

bool Port::ChooseMtu(const DpdkPort& wanted, const rte_eth_dev_info& device,
                     std::string* error) {
  const Driver& driver = DriverOf(device);
  const std::string interface = ArgumentOf(device, "iface");
  uint32_t usual = driver.usual_mtu;
  uint32_t most = kMostIpBytes;
  std::string because;
  uint32_t slot_bytes = 0;
  if (!interface.empty()) {
    usual = most = KernelMtu(interface);
    because = "ip link set " + interface + " mtu ...";
  } else if (usual == 0) {
    uint16_t now = kUsualMtu;
    rte_eth_dev_get_mtu(id_, &now);
    usual = now;
    if (device.max_mtu != 0) most = device.max_mtu;
    driver_mtu_ = static_cast<uint16_t>(wanted.mtu);
  }
  if (driver.name == "net_af_packet") {
    const std::string framesz = ArgumentOf(device, "framesz");
    slot_bytes = framesz.empty()
                     ? kPacketSlotUsual
                     : static_cast<uint32_t>(std::atoi(framesz.c_str()));
    const uint32_t fits = slot_bytes - kPacketRingBytes - kEthernetMost;
    if (fits < most) {
      most = fits;
      because = "a larger framesz (and blocksz) among the port's arguments";
    }
  } else if (driver.name == "net_af_xdp") {
    if (kXdpFrameBytes - kEthernetMost < most) {
      most = kXdpFrameBytes - kEthernetMost;
      because = "another driver: af_xdp carries no more";
    }
    most_buffer_bytes_ = kXdpBufferBytes;
    driver_buffers_ = kXdpBuffers;
  }
  mtu_ = wanted.mtu != 0 ? wanted.mtu : std::min(usual, most);
  if (mtu_ > most) {
    *error = "the port carries IP packets of " + std::to_string(most) +
             " bytes, and mtu is " + std::to_string(mtu_) +
             (because.empty() ? "" : "; to mend it: " + because);
    return false;
  }
  buffer_bytes_ =
      std::max(mtu_ + kEthernetMost, slot_bytes > kPacketSlotBytes
                                         ? slot_bytes - kPacketSlotBytes
                                         : 0) +
      RTE_PKTMBUF_HEADROOM;
  return true;
}

bool Port::Configure(const rte_eth_dev_info& device, bool interrupts,
                     std::string* error) {
  const Driver& driver = DriverOf(device);
  rte_eth_conf wanted = {};
  wanted.intr_conf.rxq = interrupts;
  wanted.rxmode.mtu = driver_mtu_;
  wanted.rxmode.offloads =
      device.rx_offload_capa &
      (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
  FindStamps(device);
  if (stamps_.are_there) {
    wanted.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TIMESTAMP;
  }
  constexpr uint64_t kBoth =
      RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
  const bool segments =
      (device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
  if (driver.is_memory) {
    checksum_by_ = ChecksumBy::kNobody;
  } else if ((device.tx_offload_capa & kBoth) == kBoth) {
    checksum_by_ = ChecksumBy::kPort;
    wanted.txmode.offloads |= kBoth;
  }
  reads_at_once_ = driver.reads_at_once && segments &&
                   ArgumentOf(device, "zero-copy") != "yes";
  if (reads_at_once_) wanted.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  // What no rule of Listen's catches is spread, so that several engines have
  // the work of handing it over, and not the first one alone.
  const uint64_t spread =
      device.flow_type_rss_offloads &
      (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP);
  if (queues() > 1 && spread != 0) {
    wanted.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    wanted.rx_adv_conf.rss_conf.rss_hf = spread;
  }
  if (const int why = rte_eth_dev_configure(id_, queues(), queues(), &wanted)) {
    *error = Failure("the port cannot be configured", why);
    return false;
  }
  rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_frames_, &tx_frames_);
  return true;
}

bool Port::MakePool(const rte_eth_dev_info& device, std::string* error) {
  if (most_buffer_bytes_ < UINT16_MAX) buffer_bytes_ = most_buffer_bytes_;
  const uint32_t waiting = queues() > 1 ? Steering::kWaiting : 0;
  const auto buffers = static_cast<uint32_t>(
      queues() * (rx_frames_ + tx_frames_ + driver_buffers_ + waiting +
                  PortQueue::kHeld + PortQueue::kSpares));
  const auto bytes = static_cast<uint16_t>(
      std::min<uint32_t>((buffer_bytes_ + 63) / 64 * 64, UINT16_MAX));
  char name[RTE_MEMPOOL_NAMESIZE];
  std::snprintf(name, sizeof name, "hawser%u", id_);
  // The last one given back is the next one taken, while the processor has it
  // in its caches: buffers that take turns are more than those can hold.
  pool_ = rte_pktmbuf_pool_create(name, buffers, kCachedBuffers,
                                  /*priv_size=*/0, bytes, SOCKET_ID_ANY);
  if (pool_ == nullptr) {
    *error =
        Failure("no memory for " + std::to_string(buffers) + " buffers of " +
                    std::to_string(bytes) + " bytes of " + device.driver_name +
                    "; to mend it: more of /proc/sys/vm/nr_hugepages, or "
                    "with --no-huge a larger -m",
                rte_errno);
  }
  return pool_ != nullptr;
}

// Which of the process's sockets are a queue's: af_xdp makes them here, one
// after another; af_packet has made them by now, one after another, so that
// each got the lowest number that was free.
bool Port::SetUpQueues(const rte_eth_dev_info& device, std::string* error) {
  const auto on = static_cast<unsigned>(rte_eth_dev_socket_id(id_));
  const std::string interface = ArgumentOf(device, "iface");
  const std::vector<int> packet = PacketSockets(interface);
  std::vector<int> before = XdpSockets();
  for (const auto& queue : queues_) {
    const uint16_t q = queue->index_;
    queue->descriptors_.clear();
    if (const int why = rte_eth_rx_queue_setup(id_, q, rx_frames_, on,
                                               /*conf=*/nullptr, pool_)) {
      *error =
          Failure("the port has no queue to receive", why) + Mend(LastWords());
      return false;
    }
    if (const int why = rte_eth_tx_queue_setup(id_, q, tx_frames_, on,
                                               /*conf=*/nullptr)) {
      *error = Failure("the port has no queue to send", why);
      return false;
    }
    std::vector<int> after = XdpSockets();
    std::set_difference(after.begin(), after.end(), before.begin(),
                        before.end(), std::back_inserter(queue->descriptors_));
    before = std::move(after);
    if (packet.size() == queues_.size()) {
      queue->descriptors_.push_back(packet[q]);
    }
  }
  return true;
}

bool Port::CheckUp(PortQueue& queue, Time now) {
  rte_spinlock_lock(&lock_);
  rte_eth_link link = {};
  const bool up = started_ && rte_eth_link_get_nowait(id_, &link) == 0 &&
                  link.link_status == RTE_ETH_LINK_UP;
  queue.sees_link_ = up;
  if (up) called_at_ = now;
  // Nobody may be in the driver meanwhile.
  const bool alone =
      std::none_of(queues_.begin(), queues_.end(),
                   [](const auto& one) { return one->sees_link_; });
  const Duration pause = started_ ? kAnswerPause : kCallPause;
  if (calls_ && alone && now - called_at_ >= pause) {
    called_at_ = now;
    if (started_) rte_eth_dev_stop(id_);
    started_ = rte_eth_dev_start(id_) == 0;
  }
  rte_spinlock_unlock(&lock_);
  return up;
}

}  // namespace hawser
