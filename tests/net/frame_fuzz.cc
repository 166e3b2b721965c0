// Any frame: none may be read out of bounds, and neither a datagram that is
// taken in nor an answer to a neighbour may lie outside of what was given.
//
// Random bytes are never for us, so the first byte of an input says how much of
// a frame's start is made right before it is looked at: the rest is then the
// fuzzer's to break.
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport/base/check.h"
#include "transport/net/frame.h"
#include "transport/net/neighbours.h"

namespace hawser {
namespace {

constexpr uint8_t kIpv4 = 1;
constexpr uint8_t kTagged = 2;
constexpr uint8_t kRepairHeader = 4;  // Addresses, lengths, port.
constexpr uint8_t kChecked = 8;

void Look(uint8_t how, std::vector<std::byte> frame) {
  const bool v4 = (how & kIpv4) != 0;
  Route route;
  route.from_mac = *ParseMac("02:00:00:00:00:01");
  route.to_mac = *ParseMac("02:00:00:00:00:02");
  route.vlan = (how & kTagged) != 0 ? 7 : kNoVlan;
  route.from = *ParseIp(v4 ? "192.0.2.1" : "2001:db8::1");
  route.to = *ParseIp(v4 ? "192.0.2.2" : "2001:db8::2");
  route.to_port = 50000;
  const FrameHeader header(route);
  if ((how & kRepairHeader) != 0 && frame.size() >= header.size()) {
    const auto payload = std::span(frame).subspan(header.size());
    header.Write(60000, payload.size(), ChecksumBy::kUs, SumOf(payload),
                 frame.data());
  }
  const FrameFilter filter = {route.to_mac, route.vlan, route.to,
                              route.to_port};
  const ParsedFrame parsed = ParseFrame(frame, filter, (how & kChecked) != 0);
  if ((how & kRepairHeader) != 0 && frame.size() >= header.size()) {
    HAWSER_CHECK(parsed.kind == FrameKind::kDatagram);
    HAWSER_CHECK(parsed.payload.size() == frame.size() - header.size());
  }
  if (!parsed.payload.empty()) {
    HAWSER_CHECK(parsed.payload.data() >= frame.data());
    HAWSER_CHECK(parsed.payload.data() + parsed.payload.size() <=
                 frame.data() + frame.size());
  }
  Neighbours neighbours(route.to_mac, route.vlan, route.to);
  neighbours.Add(route.from, Time());
  neighbours.OnFrame(parsed, Time());
  std::array<std::byte, Neighbours::kMaxFrameBytes> out;
  for (int i = 0; i < 4; ++i) {
    HAWSER_CHECK(neighbours.TakeFrame(Time(), out) <= out.size());
  }
}

}  // namespace
}  // namespace hawser

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  const auto* const rest = reinterpret_cast<const std::byte*>(bytes + 1);
  hawser::Look(bytes[0], {rest, rest + size - 1});
  return 0;
}
