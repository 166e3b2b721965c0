// Every version of NCCL's table, through a whole life: what a loader sees, what
// the device says of itself, and a message.
#include <cstring>

#include "tests/nccl/rank.h"

namespace hawser {
namespace {

using ::testing::HasSubstr;

template <int kNumber, class NetT, class PropertiesT>
struct Version {
  static constexpr int kVersion = kNumber;
  using Net = NetT;
  using Properties = PropertiesT;
};

template <class T>
class TableTest : public ::testing::Test {
 protected:
  void SetUp() override { LogBook::Clear(); }
  const Environment environment_;
  Library library_;
};

using Versions =
    ::testing::Types<Version<6, nccl::v6::Net, nccl::v6::Properties>,
                     Version<7, nccl::v7::Net, nccl::v7::Properties>,
                     Version<8, nccl::v8::Net, nccl::v8::Properties>,
                     Version<9, nccl::v9::Net, nccl::v9::Properties>,
                     Version<10, nccl::v10::Net, nccl::v10::Properties>,
                     Version<11, nccl::v11::Net, nccl::v11::Properties>,
                     Version<12, nccl::v12::Net, nccl::v12::Properties>>;

class VersionNames {
 public:
  template <class T>
  static std::string GetName(int) {
    return "v" + std::to_string(T::kVersion);
  }
};
TYPED_TEST_SUITE(TableTest, Versions, VersionNames);

TYPED_TEST(TableTest, NameCanBeReadBeforeInit) {
  const auto* net = this->library_.template Table<typename TypeParam::Net>(
      TypeParam::kVersion);
  ASSERT_NE(net, nullptr);
  EXPECT_STREQ(net->name, "Hawser");
}

TYPED_TEST(TableTest, WhatTheDeviceSays) {
  const auto* net = this->library_.template Table<typename TypeParam::Net>(
      TypeParam::kVersion);
  ASSERT_NE(net, nullptr);
  const Api api = ApiOf(*net);
  void* context;
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  int count = 0;
  ASSERT_EQ(net->devices(&count), Result::kSuccess);
  ASSERT_EQ(count, 1);
  typename TypeParam::Properties to;
  std::memset(&to, 0xff, sizeof to);
  ASSERT_EQ(net->getProperties(0, &to), Result::kSuccess);
  EXPECT_STREQ(to.name, "hawser");
  EXPECT_EQ(to.pciPath, nullptr);  // Loopback is no PCI device.
  EXPECT_EQ(to.ptrSupport, nccl::kPtrHost);
  EXPECT_GT(to.speed, 0);
  EXPECT_EQ(to.port, 1);
  EXPECT_GE(to.latency, 0);
  EXPECT_GT(to.maxComms, 1000);
  EXPECT_EQ(to.maxRecvs, 1);
  if constexpr (requires { to.netDeviceType; }) {
    EXPECT_EQ(to.netDeviceType, nccl::kNetDeviceHost);
    EXPECT_EQ(to.netDeviceVersion, nccl::kNetDeviceInvalidVersion);
  }
  if constexpr (requires { to.forceFlush; }) {
    EXPECT_EQ(to.forceFlush, 0);
  }
  if constexpr (requires { to.vProps; }) {
    EXPECT_EQ(to.vProps.ndevs, 1);
    EXPECT_EQ(to.vProps.devs[0], 0);
    EXPECT_GT(to.maxP2pBytes, 0u);
    EXPECT_LE(to.maxP2pBytes, size_t{INT32_MAX});  // test() reports an int.
    EXPECT_GT(to.maxCollBytes, 0u);
    EXPECT_LE(to.maxCollBytes, nccl::kMaxMessageBytes);
  }
  if constexpr (requires { to.maxMultiRequestSize; }) {
    EXPECT_EQ(to.maxMultiRequestSize, 1);
  }
  if constexpr (requires { to.railId; }) {
    EXPECT_EQ(to.railId, nccl::kNetIdUndefined);
    EXPECT_EQ(to.planeId, nccl::kNetIdUndefined);
  }
  // What is said stays valid, and is the same every time.
  typename TypeParam::Properties again;
  ASSERT_EQ(net->getProperties(0, &again), Result::kSuccess);
  EXPECT_EQ(again.name, to.name);
  EXPECT_EQ(net->getProperties(1, &again), Result::kInvalidArgument);
  EXPECT_EQ(net->getProperties(-1, &again), Result::kInvalidArgument);
  EXPECT_EQ(api.finalize(context), Result::kSuccess);
}

TYPED_TEST(TableTest, WholeLife) {
  const auto* net = this->library_.template Table<typename TypeParam::Net>(
      TypeParam::kVersion);
  ASSERT_NE(net, nullptr);
  const Api api = ApiOf(*net);
  void* context;
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  // To itself: NCCL's check for GPU-direct does so.
  Link link = Connect(api, context, api, context);
  std::vector<char> memory(1 << 20);
  void* mhandle = &memory;
  EXPECT_EQ(api.register_memory(link.send, memory.data(), memory.size(),
                                nccl::kPtrHost, &mhandle),
            Result::kSuccess);
  void* other = nullptr;
  EXPECT_NE(api.register_memory(link.receive, memory.data(), memory.size(),
                                nccl::kPtrCuda, &other),
            Result::kSuccess);
  EXPECT_THAT(LogBook::Warnings(), testing::Contains(HasSubstr("host memory")));
  Exchange(link, 100'000);
  Exchange(link, 0);
  Exchange(link, 1);
  void* request = &memory;
  EXPECT_EQ(api.iflush(link.receive, memory.data(), 100, nullptr, &request),
            Result::kSuccess);
  EXPECT_EQ(request, nullptr);
  EXPECT_EQ(api.unregister_memory(link.send, mhandle), Result::kSuccess);
  if constexpr (requires { net->setNetAttr; }) {
    nccl::v11::NetAttributes attributes = {};
    EXPECT_EQ(net->setNetAttr(context, &attributes), Result::kSuccess);
  }
  link.Close();
  EXPECT_EQ(api.finalize(context), Result::kSuccess);
}

TYPED_TEST(TableTest, NullsAreClosed) {
  const auto* net = this->library_.template Table<typename TypeParam::Net>(
      TypeParam::kVersion);
  ASSERT_NE(net, nullptr);
  const Api api = ApiOf(*net);
  void* context;
  ASSERT_EQ(api.init(&context), Result::kSuccess);
  EXPECT_EQ(api.close_send(nullptr), Result::kSuccess);
  EXPECT_EQ(api.close_receive(nullptr), Result::kSuccess);
  EXPECT_EQ(api.close_listen(nullptr), Result::kSuccess);
  EXPECT_EQ(api.finalize(nullptr), Result::kSuccess);
  EXPECT_EQ(api.finalize(context), Result::kSuccess);
}

}  // namespace
}  // namespace hawser
