// Memory of a GPU, from and to which a plugin sends as NCCL drives it, over two
// RDMA devices of this host (HAWSER_TEST_PORTS, "a0 b0"). HAWSER_TEST_GPU says
// what kind of GPU there is (libcuda.cc): "address", "dmabuf", or "none", where
// no NIC reaches it; unset: there is none, and nothing is tested.
//
// Where it is not "address", a processor that touches that memory falls over.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/nccl/rank.h"
#include "transport/datapath/verbs.h"

namespace hawser {
namespace {

std::string Kind() {
  const char* const kind = std::getenv("HAWSER_TEST_GPU");
  return kind != nullptr ? kind : "";
}

// Of the driver that is here, true or not.
class Gpu {
 public:
  static Gpu& Get() {
    static auto& gpu = *new Gpu;
    return gpu;
  }
  template <class... Arguments>
  void Call(const char* name, Arguments... arguments) {
    auto* const function =
        reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    ASSERT_NE(function, nullptr) << name;
    ASSERT_EQ(function(arguments...), 0) << name;
  }

 private:
  Gpu() : library_(dlopen("libcuda.so.1", RTLD_NOW)) {}
  void* const library_;
};

class GpuMemory {
 public:
  using Address = unsigned long long;
  explicit GpuMemory(size_t bytes) : bytes_(bytes) {
    Gpu::Get().Call("cuMemAlloc_v2", &address_, bytes);
  }
  ~GpuMemory() { Gpu::Get().Call("cuMemFree_v2", address_); }
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;

  void* data() const { return reinterpret_cast<void*>(address_); }
  size_t bytes() const { return bytes_; }
  void Put(const std::vector<uint8_t>& from) {
    Gpu::Get().Call("cuMemcpyHtoDAsync_v2", address_,
                    static_cast<const void*>(from.data()), from.size(),
                    static_cast<void*>(nullptr));
  }
  std::vector<uint8_t> Get() const {
    std::vector<uint8_t> to(bytes_);
    Gpu::Get().Call("cuMemcpyDtoHAsync_v2", static_cast<void*>(to.data()),
                    address_, bytes_, static_cast<void*>(nullptr));
    return to;
  }
  // A descriptor, the caller's; -1 where its address is used.
  int Share() const {
    int file = -1;
    if (Kind() == "dmabuf") {
      Gpu::Get().Call("cuMemGetHandleForAddressRange",
                      static_cast<void*>(&file), address_, bytes_, 1, 0ull);
    }
    return file;
  }
  // As NCCL does it, by what the plugin offers.
  Result Register(const nccl::v12::Net& net, void* comm, void** mhandle) {
    const int file = Share();
    if (file < 0) {
      return net.regMr(comm, data(), bytes_, nccl::kPtrCuda, mhandle);
    }
    const Result result = net.regMrDmaBuf(comm, data(), bytes_, nccl::kPtrCuda,
                                          /*offset=*/0, file, mhandle);
    close(file);
    return result;
  }

 private:
  const size_t bytes_;
  Address address_ = 0;
};

Variables At(int side, const std::string& mode) {
  std::string names[2];
  std::istringstream(std::getenv("HAWSER_TEST_PORTS")) >> names[0] >> names[1];
  return {{"HAWSER_DATAPATH", "verbs"},
          {"HAWSER_IB_HCA", "=" + names[side]},
          {"HAWSER_VERBS_MODE", mode},
          {"HAWSER_PATHS", "4"}};
}

void Lose(const char* percent) {
  const char* const path = std::getenv("HAWSER_TEST_PATH");
  if (path == nullptr) return;
  const std::string command =
      std::string(path) + " 0 0 ab " + (*percent ? "loss " : "") + percent;
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

int Offered(const Rank& rank) {
  const auto* net = rank.library.Table<nccl::v12::Net>(12);
  nccl::v12::Properties properties;
  EXPECT_EQ(net->getProperties(0, &properties), Result::kSuccess);
  return properties.ptrSupport;
}

class GpuTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (Kind().empty()) GTEST_SKIP() << "HAWSER_TEST_GPU is not set";
  }
};

TEST_P(GpuTest, what_works__is_offered) {
  Rank rank(At(0, GetParam()));
  const bool places = std::string_view(GetParam()) != "ud";
  const int wanted = nccl::kPtrHost |
                     (places && Kind() == "address" ? nccl::kPtrCuda : 0) |
                     (places && Kind() == "dmabuf" ? nccl::kPtrDmaBuf : 0);
  EXPECT_EQ(Offered(rank), wanted);
  // A check over the payload is beyond the host.
  Variables checked = At(1, GetParam());
  checked["HAWSER_CHECKSUM"] = "payload";
  Rank other(checked);
  EXPECT_EQ(Offered(other), nccl::kPtrHost);
}

TEST_P(GpuTest, what_does_not_work__is_refused) {
  if (Kind() == "address" && std::string_view(GetParam()) != "ud") {
    GTEST_SKIP() << "it works";
  }
  Rank left(At(0, GetParam())), right(At(1, GetParam()));
  Link link = Connect(left, right);
  GpuMemory memory(1 << 16);
  const auto* net = left.library.Table<nccl::v12::Net>(12);
  void* mhandle = &memory;
  EXPECT_EQ(net->regMr(link.send, memory.data(), memory.bytes(), nccl::kPtrCuda,
                       &mhandle),
            Result::kInvalidArgument);
  EXPECT_EQ(mhandle, nullptr);
  link.Close();
}

// Messages of all sizes, over a network that loses: so that some are placed,
// some come in messages, and some again.
TEST_P(GpuTest, messages__from_gpu_to_gpu) {
  if (Kind() == "none" || std::string_view(GetParam()) == "ud") {
    GTEST_SKIP() << "it cannot be reached";
  }
  char stats[] = "/tmp/hawser_gpu_XXXXXX";
  close(mkstemp(stats));
  Variables receiver = At(1, GetParam());
  receiver["HAWSER_STATS_FILE"] = std::string(stats) + ".%p";
  Rank left(At(0, GetParam())), right(receiver);
  Link link = Connect(left, right);
  constexpr size_t kMost = 1 << 17;
  GpuMemory from(kMost), to(kMost);
  const auto& sends = *left.library.Table<nccl::v12::Net>(12);
  const auto& receives = *right.library.Table<nccl::v12::Net>(12);
  void *from_handle = nullptr, *to_handle = nullptr;
  ASSERT_EQ(from.Register(sends, link.send, &from_handle), Result::kSuccess);
  ASSERT_EQ(to.Register(receives, link.receive, &to_handle), Result::kSuccess);
  Lose("5%");
  uint64_t seed = 0;
  for (const size_t bytes : {4, 1000, 5000, 1 << 17, 1 << 17, 0, 17, 1 << 17}) {
    std::vector<uint8_t> wanted = Pattern(kMost, ++seed);
    from.Put(wanted);
    std::vector<uint8_t> before(kMost, 0xee);
    to.Put(before);
    Pending receive = {link.to}, send = {link.from};
    ASSERT_TRUE(Until([&] {
      receive.result = link.to->irecv(link.receive, to.data(), kMost, 0,
                                      to_handle, &receive.request);
      return receive.request != nullptr;
    }));
    ASSERT_TRUE(Until([&] {
      send.result = link.from->isend(link.send, from.data(), bytes, 0,
                                     from_handle, &send.request);
      return send.request != nullptr;
    }));
    ASSERT_TRUE(receive.Finish());
    ASSERT_TRUE(send.Finish());
    EXPECT_EQ(receive.size, static_cast<int>(bytes));
    Pending flush = {link.to};
    ASSERT_EQ(link.to->iflush(link.receive, to.data(), static_cast<int>(bytes),
                              to_handle, &flush.request),
              Result::kSuccess);
    ASSERT_EQ(flush.request != nullptr, bytes > 0);
    ASSERT_TRUE(bytes == 0 || flush.Finish());
    std::copy_n(wanted.begin(), bytes, before.begin());
    ASSERT_EQ(to.Get(), before) << bytes << " bytes";
  }
  Lose("");
  EXPECT_EQ(sends.deregMr(link.send, from_handle), Result::kSuccess);
  EXPECT_EQ(receives.deregMr(link.receive, to_handle), Result::kSuccess);
  link.Close();
  right.End();
  const std::string written =
      std::string(stats) + "." + std::to_string(getpid());
  const auto report = nlohmann::json::parse(std::ifstream(written));
  uint64_t placed = 0, carried = 0;
  for (const auto& engine : report["engines"]) {
    placed += engine["bytes_placed"].get<uint64_t>();
    carried += engine["bytes_carried"].get<uint64_t>();
  }
  EXPECT_GT(placed, 0u);
  // Over rc the devices themselves make up for what is lost.
  EXPECT_TRUE(carried > 0 || std::string_view(GetParam()) == "rc");
  unlink(stats);
  unlink(written.c_str());
}

// Below the engine: what cannot be carried is said, does not hold up the rest,
// and every buffer comes back.
class CarryTest : public testing::Test {
 protected:
  static constexpr PeerId kLeft{5}, kRight{3};
  static constexpr uint32_t kKey = kGpuKey | 1, kGone = kGpuKey | 2;
  static constexpr uint32_t kBytes = 1024;

  void SetUp() override {
    if (Kind() != "address" && Kind() != "dmabuf") {
      GTEST_SKIP() << "HAWSER_TEST_GPU is neither address nor dmabuf";
    }
    left_ = Open(0);
    right_ = Open(1);
    ASSERT_TRUE(left_->OpenPeer(kRight, right_->address()));
    ASSERT_TRUE(right_->OpenPeer(kLeft, left_->address()));
    memory_ = std::make_unique<GpuMemory>(kBytes);
    Memory memory = {static_cast<std::byte*>(memory_->data()), kBytes,
                     MemoryKind::kGpu, memory_->Share()};
    pinned_ = right_->Pin(memory);
    if (memory.dmabuf >= 0) close(memory.dmabuf);
    ASSERT_NE(pinned_, nullptr);
    right_->Register(kKey, *pinned_);
  }
  static std::unique_ptr<Datapath> Open(int side) {
    auto library = VerbsLibrary::Load();
    EXPECT_TRUE(library.ok()) << library.status();
    const Variables at = At(side, "uc");
    auto ports = (*library)->FindPorts(at.at("HAWSER_IB_HCA"),
                                       AddressFamily::kIpv4, /*gid_index=*/-1);
    EXPECT_TRUE(ports.ok()) << ports.status();
    VerbsOptions options;
    options.mode = VerbsMode::kUc;
    options.device = ports->front().rdma_device;
    options.gid_index = ports->front().gid_index;
    options.entropies = 1;
    options.gpus = true;
    std::string choice;
    auto plane = (*library)->Open(options, &choice);
    EXPECT_TRUE(plane.ok()) << plane.status();
    return *std::move(plane);
  }
  // Brings a message to the right side, and has it carried to memory of this
  // number. Its bytes are all `sign`.
  void Carry(uint64_t ticket, uint8_t sign, uint32_t key) {
    std::vector<std::byte> bytes(kBytes, std::byte{sign});
    TxPacket packet;
    packet.peer = kRight;
    packet.header = bytes;
    std::array<RxPacket, 1> out;
    left_->Receive({});
    left_->Recycle();
    ASSERT_GT(left_->tx_room(), 0u);
    left_->Send({&packet, 1});
    size_t got = 0;
    Until(
        [&] {
          got = right_->Receive(out);
          if (got == 0) right_->Recycle();
          return got > 0;
        },
        5'000);
    ASSERT_EQ(got, 1u);
    right_->Carry(ticket, out[0].bytes,
                  {static_cast<std::byte*>(memory_->data()), kBytes, key});
    right_->Recycle();
  }
  Carried Take() {
    Carried carried;
    EXPECT_TRUE(Until([&] { return right_->TakeCarried(&carried); }, 5'000));
    right_->Receive({});
    right_->Recycle();
    return carried;
  }

  std::unique_ptr<GpuMemory> memory_;
  std::unique_ptr<Datapath> left_, right_;
  std::unique_ptr<Pinned> pinned_;
};

TEST_F(CarryTest, Carry__and_it_is_there) {
  Carry(7, 0x11, kKey);
  const Carried carried = Take();
  EXPECT_EQ(carried.ticket, 7u);
  EXPECT_TRUE(carried.ok);
  EXPECT_EQ(memory_->Get(), std::vector<uint8_t>(kBytes, 0x11));
}

TEST_F(CarryTest, Carry__to_what_is_not_registered_fails_alone) {
  Carry(1, 0x22, kGone);
  EXPECT_FALSE(Take().ok);
  // The NIC finds out by itself where the memory went without a word.
  pinned_.reset();
  Carry(2, 0x33, kKey);
  EXPECT_FALSE(Take().ok);
  Memory memory = {static_cast<std::byte*>(memory_->data()), kBytes,
                   MemoryKind::kGpu, memory_->Share()};
  pinned_ = right_->Pin(memory);
  if (memory.dmabuf >= 0) close(memory.dmabuf);
  right_->Register(kKey, *pinned_);
  Carry(3, 0x44, kKey);
  const Carried carried = Take();
  EXPECT_EQ(carried.ticket, 3u);
  EXPECT_TRUE(carried.ok);
  EXPECT_EQ(memory_->Get(), std::vector<uint8_t>(kBytes, 0x44));
}

TEST_F(CarryTest, Forget__and_nothing_is_told) {
  Carry(1, 0x55, kKey);
  Carry(2, 0x66, kKey);
  const uint64_t forgotten[] = {1};
  right_->Forget(forgotten);
  const Carried carried = Take();
  EXPECT_EQ(carried.ticket, 2u);
  EXPECT_TRUE(carried.ok);
  Carried none;
  EXPECT_FALSE(right_->TakeCarried(&none));
}

TEST_F(CarryTest, Flush__is_done_behind_what_is_carried) {
  Carry(1, 0x77, kKey);
  right_->Flush(2, {static_cast<std::byte*>(memory_->data()), kBytes, kKey});
  EXPECT_EQ(Take().ticket, 1u);
  const Carried carried = Take();
  EXPECT_EQ(carried.ticket, 2u);
  EXPECT_TRUE(carried.ok);
}

INSTANTIATE_TEST_SUITE_P(Verbs, GpuTest, testing::Values("ud", "uc", "rc"),
                         [](const auto& mode) { return mode.param; });

}  // namespace
}  // namespace hawser
