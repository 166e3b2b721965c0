// The suite of conformance.h over the datapaths that this room can test alone.

#include "tests/datapath/conformance.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "tests/datapath/loopback.h"
#include "transport/datapath/udp.h"

namespace hawser {
namespace {

class UdpWire final : public Wire {
 public:
  // nullptr if the host has no such address.
  static std::unique_ptr<Wire> Make(const UdpOptions& options) {
    auto left = UdpDatapath::Create(options, nullptr);
    auto right = UdpDatapath::Create(options, nullptr);
    if (!left.ok() || !right.ok()) return nullptr;
    return std::unique_ptr<Wire>(
        new UdpWire(*std::move(left), *std::move(right)));
  }
  Datapath& left() override { return *left_; }
  Datapath& right() override { return *right_; }
  bool Wait(Datapath& plane, Duration limit) override {
    return WaitReadable(plane.poll_fd(), limit);
  }

 private:
  UdpWire(std::unique_ptr<UdpDatapath> left, std::unique_ptr<UdpDatapath> right)
      : left_(std::move(left)), right_(std::move(right)) {}
  std::unique_ptr<UdpDatapath> left_;
  std::unique_ptr<UdpDatapath> right_;
};

std::unique_ptr<Wire> OverIpv4() {
  return UdpWire::Make(LoopbackOptions("127.0.0.1"));
}

std::unique_ptr<Wire> OverIpv6() {
  return UdpWire::Make(LoopbackOptions("::1"));
}

std::unique_ptr<Wire> WithJumboPackets() {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.interface_mtu = 9000;
  options.entropies = 256;
  return UdpWire::Make(options);
}

std::unique_ptr<Wire> WithTheLargestPackets() {
  UdpOptions options = LoopbackOptions("127.0.0.1");
  options.interface_mtu = 65536;
  options.entropies = 1;
  return UdpWire::Make(options);
}

INSTANTIATE_TEST_SUITE_P(
    Udp, DatapathConformance,
    testing::Values(WireMaker{"Ipv4", &OverIpv4}, WireMaker{"Ipv6", &OverIpv6},
                    WireMaker{"Jumbo", &WithJumboPackets},
                    WireMaker{"Largest", &WithTheLargestPackets}),
    WireName);

}  // namespace
}  // namespace hawser
