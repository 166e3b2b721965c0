// The suite of conformance.h between two ports of DPDK's. Where several engines
// share each, the last of one speaks with the first of the other, so that
// frames may come by queues of those who have nothing to say.
#include "tests/datapath/conformance.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "tests/dpdk/wire.h"

namespace hawser {
namespace {

class DpdkWire final : public Wire {
 public:
  static std::unique_ptr<Wire> Make(uint16_t entropies) {
    auto planes = OpenPlanes(entropies);
    if (planes.size() != 2 * size_t{PortQueues()}) return nullptr;
    auto wire = std::make_unique<DpdkWire>();
    wire->planes_ = std::move(planes);
    return wire;
  }
  Datapath& left() override { return *planes_[planes_.size() / 2 - 1]; }
  Datapath& right() override { return *planes_[planes_.size() / 2]; }

  // Each plane is also a part of the network: it answers who asks for its
  // address when it is called. And a port that cannot tell when something came
  // is looked at now and then, mostly in vain: what is still readable when it
  // has been looked at is more than that.
  bool Wait(Datapath& plane, Duration limit) override {
    constexpr Duration kTurn = Duration::Millis(2);
    constexpr int kSure = 4;
    const bool full = plane.tx_room() == 0;
    for (Duration waited; waited < limit; waited += kTurn) {
      for (const auto& each : planes_) each->Receive({});
      if (full && plane.tx_room() > 0) return true;
      plane.Await();
      if (!WaitReadable(plane.poll_fd(), kTurn)) continue;
      int times = 0;
      do {
        plane.Receive({});
        plane.Await();
      } while (WaitReadable(plane.poll_fd(), Duration()) && ++times < kSure);
      if (times == kSure) return true;
    }
    return false;
  }

 private:
  std::vector<std::unique_ptr<Datapath>> planes_;
};

INSTANTIATE_TEST_SUITE_P(
    Dpdk, DatapathConformance,
    testing::Values(WireMaker{"OneEntropy", [] { return DpdkWire::Make(1); }},
                    WireMaker{"Many", [] { return DpdkWire::Make(16); }}),
    WireName);

}  // namespace
}  // namespace hawser
