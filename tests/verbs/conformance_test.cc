// The suite of conformance.h between two RDMA devices of this host. Their names
// come from HAWSER_TEST_PORTS, two words: "a0 b0" where tools/softroce runs it.
#include "tests/datapath/conformance.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "transport/datapath/verbs.h"

namespace hawser {
namespace {

bool WaitReadable(int fd, Duration limit) {
  pollfd one = {fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&one, 1, static_cast<int>(limit.millis()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

std::unique_ptr<Datapath> OpenPort(const std::string& device, VerbsMode mode,
                                   uint16_t entropies) {
  auto library = VerbsLibrary::Load();
  if (!library.ok()) return nullptr;
  auto ports =
      (*library)->FindPorts("=" + device, AddressFamily::kIpv4, /*gid*/ -1);
  if (!ports.ok()) return nullptr;
  VerbsOptions options;
  options.mode = mode;
  options.device = device;
  options.port = ports->front().rdma_port;
  options.gid_index = ports->front().gid_index;
  options.software = ports->front().software;
  options.entropies = entropies;
  std::string choice;
  auto plane = (*library)->Open(options, &choice);
  EXPECT_TRUE(plane.ok()) << plane.status();
  return plane.ok() ? *std::move(plane) : nullptr;
}

class VerbsWire final : public Wire {
 public:
  static std::unique_ptr<Wire> Make(VerbsMode mode, uint16_t entropies) {
    const char* names = std::getenv("HAWSER_TEST_PORTS");
    if (names == nullptr) return nullptr;
    std::string left, right;
    std::istringstream(names) >> left >> right;
    auto wire = std::make_unique<VerbsWire>();
    wire->left_ = OpenPort(left, mode, entropies);
    wire->right_ = OpenPort(right, mode, entropies);
    if (wire->left_ == nullptr || wire->right_ == nullptr) return nullptr;
    return wire;
  }
  Datapath& left() override { return *left_; }
  Datapath& right() override { return *right_; }
  bool Wait(Datapath& plane, Duration limit) override {
    plane.Await();
    return WaitReadable(plane.poll_fd(), limit);
  }
  void Settle() override {
    std::array<RxPacket, 1> none;
    bool talks = true;
    while (talks) {
      talks = false;
      for (Datapath* plane : {left_.get(), right_.get()}) {
        talks |= Wait(*plane, Duration::Millis(100));
        EXPECT_EQ(plane->Receive(none), 0u);
        plane->Recycle();
      }
    }
  }

 private:
  std::unique_ptr<Datapath> left_, right_;
};

INSTANTIATE_TEST_SUITE_P(
    Verbs, DatapathConformance,
    testing::Values(
        WireMaker{"Ud", [] { return VerbsWire::Make(VerbsMode::kUd, 1); }},
        WireMaker{"UdMany", [] { return VerbsWire::Make(VerbsMode::kUd, 16); }},
        WireMaker{"Uc", [] { return VerbsWire::Make(VerbsMode::kUc, 4); }},
        WireMaker{"Rc", [] { return VerbsWire::Make(VerbsMode::kRc, 4); }},
        WireMaker{"Auto", [] { return VerbsWire::Make(VerbsMode::kAuto, 1); }}),
    WireName);

}  // namespace
}  // namespace hawser
