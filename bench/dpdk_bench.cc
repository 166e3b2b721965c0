// What an engine adds to a port of DPDK's: two ports of one process, joined to
// each other, and one thread. First bare bursts of frames over them, then the
// same ports under two engines, one of which sends to the other.
//   tests/dpdk/run.sh ports memif build/release/dpdk_bench [PATHS...]
// Prints nanoseconds of processor time per packet, both sides together: the
// least of several rounds, for the machine may have other things to do.
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/check.h"
#include "transport/datapath/dpdk.h"
#include "transport/engine/clock.h"
#include "transport/engine/engine.h"

namespace hawser {
namespace {

constexpr uint32_t kPayloadBytes = 4096;
constexpr uint32_t kHeaderBytes = 42;  // Ethernet, IPv4, UDP.
constexpr int kRounds = 40;
// What is open at once stays in the processor's caches, as a bare burst does:
// it is the engine that is measured, and not what memory costs.
constexpr uint32_t kMessageBytes = 128 << 10;
constexpr size_t kOpenMessages = 4;
constexpr uint32_t kRoundPackets = 64 * kMessageBytes / kPayloadBytes;

std::string Setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

double CpuNanos() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e9 * static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec);
}

// The least that a round took, per packet.
class Least {
 public:
  template <class Round>
  void Take(Round round) {
    const double began = CpuNanos();
    const double packets = round();
    nanos_ = std::min(nanos_, (CpuNanos() - began) / packets);
  }
  double nanos() const { return nanos_; }

 private:
  double nanos_ = 1e18;
};

// Bursts of 32 frames from one port to the other. `touched`: payload is copied
// in before, and out after.
class Bare {
 public:
  Bare(uint16_t from, uint16_t to) : from_(from), to_(to) {
    pool_ = rte_pktmbuf_pool_create("bench", 4095, 256, 0, 9216, SOCKET_ID_ANY);
    HAWSER_CHECK(pool_ != nullptr);
  }
  double Round(bool touched) {
    uint32_t done = 0;
    while (done < kRoundPackets) {
      std::array<rte_mbuf*, 32> frames;
      uint16_t sent = 0;
      for (rte_mbuf*& frame : frames) {
        frame = rte_pktmbuf_alloc(pool_);
        HAWSER_CHECK(frame != nullptr);
        auto* const bytes = reinterpret_cast<std::byte*>(
            rte_pktmbuf_append(frame, kHeaderBytes + kPayloadBytes));
        std::memset(bytes, 0xee, kHeaderBytes);
        if (touched) {
          std::memcpy(bytes + kHeaderBytes,
                      &source_[(done + sent++) * kPayloadBytes % kMessageBytes],
                      kPayloadBytes);
        }
      }
      uint16_t left = rte_eth_tx_burst(from_, 0, frames.data(), 32);
      HAWSER_CHECK(left == 32);
      while (left > 0) {
        const uint16_t count = rte_eth_rx_burst(to_, 0, frames.data(), 32);
        for (uint16_t i = 0; touched && i < count; ++i) {
          std::memcpy(&sink_[(done + i) * kPayloadBytes % kMessageBytes],
                      rte_pktmbuf_mtod_offset(frames[i], char*, kHeaderBytes),
                      kPayloadBytes);
        }
        rte_pktmbuf_free_bulk(frames.data(), count);
        left = static_cast<uint16_t>(left - count);
        done += count;
      }
    }
    return done;
  }

 private:
  const uint16_t from_, to_;
  rte_mempool* pool_;
  std::vector<char> source_ = std::vector<char>(kMessageBytes, 1);
  std::vector<char> sink_ = std::vector<char>(kMessageBytes);
};

struct Side {
  std::unique_ptr<Datapath> plane;
  std::unique_ptr<Engine> engine;
  Peer* peer = nullptr;
  FlowRecord* flow = nullptr;
  std::vector<std::byte> memory = std::vector<std::byte>(kMessageBytes);
};

// Two engines that speak with each other, and one message after another.
class Engines {
 public:
  Engines(const DpdkLibrary& library, const std::vector<DpdkPort>& ports,
          int paths) {
    Config config;
    config.paths = paths;
    config.packet_bytes = static_cast<int>(kPayloadBytes);
    // One thread has both sides, so nothing is congested but itself.
    config.congestion = "fixed_window";
    config.window_bytes = 128 << 10;
    const Time now = MonotonicNow();
    std::array<wire::Introduction, 2> words;
    for (uint64_t i = 0; i < 2; ++i) {
      DpdkOptions options;
      options.port = ports[i];
      options.entropies = static_cast<uint16_t>(paths);
      options.max_packet_bytes = 65536;
      auto plane = library.Open(options);
      if (!plane.ok()) {
        std::fprintf(stderr, "%s\n", plane.status().ToString().c_str());
        std::exit(1);
      }
      Side& side = sides_[i];
      side.plane = *std::move(plane);
      words[i].identity = {i + 1, i + 11};
      side.engine = std::make_unique<Engine>(
          config, words[i].identity, 0,
          std::vector<Datapath*>{side.plane.get()}, /*seed=*/i);
    }
    for (size_t i = 0; i < 2; ++i) {
      Side& side = sides_[i];
      side.peer = *side.engine->AddPeer(words[1 - i].identity, 0, now);
      side.flow = *side.engine->AddFlow(
          *side.peer, i == 0 ? Direction::kSend : Direction::kReceive);
      words[i].peer = side.peer->id;
      words[i].flow = side.flow->id;
      words[i].paths = static_cast<uint16_t>(paths);
      words[i].planes = {side.plane->address()};
      words[i].host = "bench";
    }
    for (size_t i = 0; i < 2; ++i) {
      HAWSER_CHECK(
          sides_[i].engine->OpenPeer(*sides_[i].peer, words[1 - i], now).ok());
      sides_[i].engine->ConnectFlow(*sides_[i].flow, words[1 - i].flow, now);
    }
  }

  double Round() {
    const uint64_t before = sides_[0].engine->metrics().packets_sent.value();
    std::array<std::vector<Request*>, 2> open;
    std::array<uint32_t, 2> submitted = {};
    constexpr uint32_t kMessages =
        kRoundPackets * kPayloadBytes / kMessageBytes;
    uint32_t done = 0;
    while (done < 2 * kMessages) {
      for (size_t i = 0; i < 2; ++i) {
        Side& side = sides_[i];
        while (submitted[i] < kMessages && open[i].size() < kOpenMessages) {
          Request* const request =
              side.flow->queue.Submit({side.memory.data(), kMessageBytes, 0});
          HAWSER_CHECK(request != nullptr);
          open[i].push_back(request);
          ++submitted[i];
          side.engine->inbox().Ring(&side.flow->queue);
        }
        side.engine->RunOnce(MonotonicNow());
        done +=
            static_cast<uint32_t>(std::erase_if(open[i], [](Request* request) {
              Request::Outcome outcome;
              uint32_t bytes = 0;
              if (!RequestQueue::Test(request, &outcome, &bytes)) return false;
              HAWSER_CHECK(outcome == Request::Outcome::kOk);
              return true;
            }));
      }
    }
    const uint64_t after = sides_[0].engine->metrics().packets_sent.value();
    resent_ += sides_[0].engine->metrics().packets_resent.value();
    return static_cast<double>(after - before);
  }
  uint64_t resent() const { return resent_; }

 private:
  std::array<Side, 2> sides_;
  uint64_t resent_ = 0;
};

int Main(int argc, char** argv) {
  const auto ports = ParseDpdkPorts(Setting("HAWSER_TEST_DPDK_PORTS"));
  const auto library = ports.ok()
                           ? DpdkLibrary::Load(Setting("HAWSER_TEST_DPDK_EAL"))
                           : ports.status();
  if (!library.ok()) {
    std::fprintf(stderr, "%s\n", library.status().ToString().c_str());
    return 1;
  }
  std::vector<int> paths;
  for (int i = 1; i < argc; ++i) paths.push_back(std::atoi(argv[i]));
  if (paths.empty()) paths = {16};

  std::array<uint16_t, 2> ids = {};
  for (size_t i = 0; i < 2; ++i) {
    rte_eth_dev_get_port_by_name((*ports)[i].name.c_str(), &ids[i]);
  }
  { Engines(**library, *ports, paths.front()).Round(); }  // Links come up.
  Bare bare(ids[0], ids[1]);
  std::printf(
      "# ns per packet of %u bytes, sent and received\n"
      "# paths  bare burst  payload copied  engines  theirs alone\n",
      kPayloadBytes);
  for (const int count : paths) {
    Engines engines(**library, *ports, count);
    // By turns: what else the machine does changes while we look.
    Least untouched, touched, all;
    for (int i = 0; i < kRounds; ++i) {
      untouched.Take([&] { return bare.Round(false); });
      touched.Take([&] { return bare.Round(true); });
      all.Take([&] { return engines.Round(); });
    }
    std::printf("%7d %11.0f %15.0f %8.0f %13.0f%s\n", count, untouched.nanos(),
                touched.nanos(), all.nanos(), all.nanos() - touched.nanos(),
                engines.resent() > 0 ? "  (some resent)" : "");
  }
  return 0;
}

}  // namespace
}  // namespace hawser

int main(int argc, char** argv) { return hawser::Main(argc, argv); }
