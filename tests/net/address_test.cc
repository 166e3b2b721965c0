#include "transport/net/address.h"

#include <gtest/gtest.h>

namespace hawser {
namespace {

TEST(ParseMac, SixBytesInHexadecimal) {
  const auto mac = ParseMac("02:00:5e:10:00:Ff");
  ASSERT_TRUE(mac);
  EXPECT_EQ(ToString(*mac), "02:00:5e:10:00:ff");
  EXPECT_FALSE(mac->is_group());
  EXPECT_TRUE(kBroadcastMac.is_group());
  for (const char* text :
       {"", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "02-00-5e-10-00-ff",
        "02:00:5e:10:00:fg", "02:00:5e:10:00:+f", "2:00:5e:10:00:ff:"}) {
    EXPECT_FALSE(ParseMac(text)) << text;
  }
}

TEST(ParseIp, BothFamilies) {
  EXPECT_EQ(ToString(*ParseIp("192.0.2.1")), "192.0.2.1");
  EXPECT_EQ(ToString(*ParseIp("2001:db8::1")), "2001:db8::1");
  EXPECT_TRUE(ParseIp("192.0.2.1")->is_v4());
  EXPECT_FALSE(ParseIp("2001:db8::1")->is_v4());
  for (const char* text :
       {"", "192.0.2", "192.0.2.256", "2001:db8::g", "192.0.2.1 ", "host"}) {
    EXPECT_FALSE(ParseIp(text)) << text;
  }
}

TEST(IpAddress, is_unicast__one_host) {
  for (const char* text :
       {"192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1", "fd00::2"}) {
    EXPECT_TRUE(ParseIp(text)->is_unicast()) << text;
  }
  for (const char* text : {"0.0.0.0", "127.0.0.1", "224.0.0.1",
                           "255.255.255.255", "::", "::1", "ff02::1"}) {
    EXPECT_FALSE(ParseIp(text)->is_unicast()) << text;
  }
  EXPECT_FALSE(IpAddress().is_unicast());
}

TEST(IpPrefix, Contains__up_to_the_bit) {
  const auto prefix = ParsePrefix("192.0.2.100/26");
  ASSERT_TRUE(prefix);
  EXPECT_TRUE(prefix->Contains(*ParseIp("192.0.2.64")));
  EXPECT_TRUE(prefix->Contains(*ParseIp("192.0.2.127")));
  EXPECT_FALSE(prefix->Contains(*ParseIp("192.0.2.128")));
  EXPECT_FALSE(prefix->Contains(*ParseIp("192.0.2.63")));
  EXPECT_FALSE(prefix->Contains(*ParseIp("2001:db8::1")));
  EXPECT_TRUE(ParsePrefix("192.0.2.1/0")->Contains(*ParseIp("8.8.8.8")));
  const auto six = ParsePrefix("2001:db8::1/64");
  EXPECT_TRUE(six->Contains(*ParseIp("2001:db8::ffff")));
  EXPECT_FALSE(six->Contains(*ParseIp("2001:db8:0:1::1")));
  for (const char* text : {"192.0.2.1", "192.0.2.1/", "192.0.2.1/33",
                           "192.0.2.1/-1", "2001:db8::1/129", "/24"}) {
    EXPECT_FALSE(ParsePrefix(text)) << text;
  }
}

}  // namespace
}  // namespace hawser
