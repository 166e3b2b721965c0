// The fuzz target without a fuzzer: the same function, fed with valid things
// that were damaged, so that every build has tried it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

// The source, because a target of its own would not be built without clang.
#include "tests/wire/header_fuzz.cc"
#include "tests/wire/samples.h"
#include "transport/base/random.h"

namespace hawser::wire {
namespace {

std::vector<std::byte> RandomSample(PacketKey key, Random& random) {
  const uint64_t which = random.Below(9);
  switch (which) {
    case 0:
    case 1:
    case 2:
    case 3:
      return RandomPacket(static_cast<CargoKind>(which), key, random).bytes;
    case 4:
      return RandomAckPacket(key, random);
    case 5:
      return EncodeIntroduction(
          random.Chance(0.5) ? FrameKind::kHello : FrameKind::kWelcome,
          RandomIntroduction(random));
    case 6:
      return EncodeRefusal(RandomText(random.Below(300), random));
    case 7:
      return RandomControlPacket(key, random);
    default: {
      std::vector<std::byte> bytes = RandomBytes(random.Below(200), random);
      if (!bytes.empty()) bytes[0] = std::byte{kVersion << 4};
      return bytes;
    }
  }
}

// Small integers and their like, which is where limits are.
void Damage(std::vector<std::byte>& bytes, Random& random) {
  if (bytes.empty()) return;
  const size_t at = random.Below(bytes.size());
  switch (random.Below(6)) {
    case 0:
      bytes[at] ^= static_cast<std::byte>(1 << random.Below(8));
      break;
    case 1:
      bytes[at] = static_cast<std::byte>(random.Next());
      break;
    case 2:
      bytes[at] = static_cast<std::byte>(random.Below(20));
      break;
    case 3:
      std::fill_n(bytes.begin() + at, std::min<size_t>(4, bytes.size() - at),
                  random.Chance(0.5) ? std::byte{0} : std::byte{0xff});
      break;
    case 4:
      bytes.resize(at);
      break;
    default:
      bytes.resize(bytes.size() + random.Below(40), std::byte{1});
      break;
  }
}

// What a fuzzer found, once each.
TEST(HeaderFuzz, TestOneInput__found_before) {
  // A packet whose payload was placed, and is not in it.
  constexpr uint8_t kPlaced[] = {0x00, 0x02, 0x60, 0x22, 0xb7, 0x00, 0x5d, 0xb7,
                                 0xb7, 0xb7, 0x40, 0x2b, 0x03, 0x00, 0xf9, 0x8a,
                                 0xc2, 0x40, 0xff, 0x28, 0xff, 0x01, 0x00, 0x08,
                                 0x00, 0x00, 0x00, 0x00, 0xae, 0x02};
  LLVMFuzzerTestOneInput(kPlaced, sizeof kPlaced);
}

TEST(HeaderFuzz, TestOneInput__damaged_samples) {
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    const PacketKey key = random.Next();
    std::vector<std::byte> input(1 + sizeof(key));
    input[0] = static_cast<std::byte>(random.Next());
    std::memcpy(input.data() + 1, &key, sizeof(key));
    std::vector<std::byte> sample = RandomSample(key, random);
    for (uint64_t d = random.Below(4); d > 0; --d) Damage(sample, random);
    input.insert(input.end(), sample.begin(), sample.end());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                           input.size());
  }
}

}  // namespace
}  // namespace hawser::wire
