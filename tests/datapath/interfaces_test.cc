// The selection as NCCL reads it, and what any host with a loopback has.

#include "transport/datapath/interfaces.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace hawser {
namespace {

sockaddr_storage V4(const char* host, uint16_t port) {
  sockaddr_storage address = {};
  auto& in = reinterpret_cast<sockaddr_in&>(address);
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  inet_pton(AF_INET, host, &in.sin_addr);
  return address;
}

sockaddr_storage V6(const char* host, uint16_t port, uint32_t scope = 0) {
  sockaddr_storage address = {};
  auto& in6 = reinterpret_cast<sockaddr_in6&>(address);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  in6.sin6_scope_id = scope;
  inet_pton(AF_INET6, host, &in6.sin6_addr);
  return address;
}

TEST(Selects, APrefixUnlessExactlyIsAskedFor) {
  EXPECT_TRUE(Selects("eth", "eth0"));
  EXPECT_TRUE(Selects("eth1", "eth10"));
  EXPECT_FALSE(Selects("eth0", "eth"));
  EXPECT_FALSE(Selects("=eth", "eth0"));
  EXPECT_FALSE(Selects("=eth1", "eth10"));
  EXPECT_TRUE(Selects("=eth1", "eth1"));
}

TEST(Selects, AnyOfAList) {
  EXPECT_TRUE(Selects("eth,ib", "ib0"));
  EXPECT_TRUE(Selects("=eth0,eth1", "eth1"));
  EXPECT_FALSE(Selects("=eth0,eth1", "eth2"));
  EXPECT_TRUE(Selects(" eth , ib ", "ib0"));
  EXPECT_FALSE(Selects("eth,,ib,", "wlan0"));  // Nothing is not everything.
}

TEST(Selects, AHatExcludes) {
  EXPECT_FALSE(Selects("^docker,lo", "lo"));
  EXPECT_FALSE(Selects("^docker,lo", "docker0"));
  EXPECT_TRUE(Selects("^docker,lo", "eth0"));
  EXPECT_TRUE(Selects("^=eth1", "eth10"));
  EXPECT_FALSE(Selects("^=eth1", "eth1"));
  EXPECT_TRUE(Selects("^", "eth0"));
}

TEST(ToString, LeavesPortZeroOut) {
  EXPECT_EQ(ToString(V4("192.0.2.1", 4791)), "192.0.2.1:4791");
  EXPECT_EQ(ToString(V4("192.0.2.1", 0)), "192.0.2.1");
  EXPECT_EQ(ToString(V6("2001:db8::1", 4791)), "[2001:db8::1]:4791");
  EXPECT_EQ(ToString(V6("2001:db8::1", 0)), "2001:db8::1");
  EXPECT_EQ(ToString(V6("fe80::1", 9, 3)), "[fe80::1%3]:9");
  EXPECT_EQ(ToString(sockaddr_storage{}), "(address family 0)");
}

TEST(FindInterfaces, LoopbackCanBeAskedFor) {
  const auto found = FindInterfaces("=lo", AddressFamily::kIpv4);
  if (!found.ok()) GTEST_SKIP() << found.status();
  ASSERT_EQ(found->size(), 1u);
  const Interface& lo = found->front();
  EXPECT_EQ(lo.name, "lo");
  EXPECT_EQ(ToString(lo.address), "127.0.0.1");
  EXPECT_TRUE(lo.loopback);
  EXPECT_GE(lo.mtu, 1280u);
  EXPECT_EQ(lo.speed_mbps, 0);
  EXPECT_EQ(lo.pci_path, "");
}

TEST(FindInterfaces, TheFamilyIsObeyed) {
  const auto six = FindInterfaces("=lo", AddressFamily::kIpv6);
  if (six.ok()) {
    EXPECT_EQ(ToString(six->front().address), "::1");
    const auto any = FindInterfaces("=lo", AddressFamily::kAny);
    ASSERT_TRUE(any.ok());
    EXPECT_EQ(any->size(), 1u);  // One entry, although it has two addresses.
  }
  const auto all = FindInterfaces("^", AddressFamily::kAny);
  ASSERT_TRUE(all.ok()) << all.status();
  std::set<std::string> names;
  for (const Interface& one : *all) {
    EXPECT_TRUE(names.insert(one.name).second) << one.name << " comes twice";
    EXPECT_GT(one.mtu, 0u);
    EXPECT_GE(one.speed_mbps, 0);
    EXPECT_THAT(ToString(one.address),
                testing::Not(testing::HasSubstr("fe80")));
    if (!one.pci_path.empty()) {
      EXPECT_THAT(one.pci_path, testing::StartsWith("/sys/devices/"));
    }
  }
}

TEST(FindInterfaces, ByDefaultLoopbackIsTheLastResort) {
  const auto found = FindInterfaces("", AddressFamily::kAny);
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_FALSE(found->empty());
  for (const Interface& one : *found) {
    EXPECT_EQ(one.loopback, found->front().loopback);
    EXPECT_THAT(one.name, testing::Not(testing::StartsWith("docker")));
    // As little of one kind as of the other, unless there is nothing else.
    EXPECT_EQ(one.bridge || one.point_to_point,
              found->front().bridge || found->front().point_to_point);
  }
}

TEST(FindInterfaces, SaysWhatThereIsWhenNothingFits) {
  const auto found = FindInterfaces("=no-such-name", AddressFamily::kAny);
  ASSERT_EQ(found.status().code(), absl::StatusCode::kNotFound);
  const std::string text(found.status().message());
  EXPECT_THAT(text, testing::HasSubstr("no-such-name"));
  const auto all = FindInterfaces("^", AddressFamily::kAny);
  ASSERT_TRUE(all.ok());
  for (const Interface& one : *all) {
    EXPECT_THAT(text, testing::HasSubstr(one.name));
  }
}

}  // namespace
}  // namespace hawser
