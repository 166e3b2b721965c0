#include "transport/engine/find_devices.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hawser {
namespace {

TEST(FindDevices, JoinsAllInterfacesUnlessToldOtherwise) {
  Config config;
  config.datapath = "udp";  // Else it says why not verbs.
  config.interfaces = "=lo";
  for (const int aggregate : {1, 0}) {
    config.aggregate = aggregate;
    std::vector<std::string> remarks;
    const auto offers = FindDevices(config, &remarks);
    ASSERT_TRUE(offers.ok()) << offers.status();
    ASSERT_EQ(offers->size(), 1u);
    EXPECT_EQ(offers->front().name, aggregate == 1 ? "hawser" : "hawser-lo");
    EXPECT_EQ(ToString(offers->front().interfaces), "lo (127.0.0.1)");
    EXPECT_THAT(remarks, testing::IsEmpty());
  }
}

TEST(FindDevices, SaysWhatThereIsWhenNothingFits) {
  Config config;
  config.interfaces = "=no-such-name";
  EXPECT_EQ(FindDevices(config).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hawser
