#include "transport/engine/registrations.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <utility>

namespace hawser {
namespace {

class CountedPin final : public Pinned {
 public:
  explicit CountedPin(int* alive) : alive_(alive) { ++*alive_; }
  ~CountedPin() override { --*alive_; }

 private:
  int* const alive_;
};

class RegistrationsTest : public testing::Test {
 protected:
  Memory Piece(size_t begin, size_t length,
               MemoryKind kind = MemoryKind::kHost) {
    return {arena_.data() + begin, length, kind};
  }
  uint32_t Add(const Memory& memory) {
    Registrations::Pins pins;
    pins.push_back(std::make_unique<CountedPin>(&alive_));
    return registrations_.Add(memory, std::move(pins));
  }

  std::array<std::byte, 4096> arena_;
  int alive_ = 0;
  Registrations registrations_;
};

TEST_F(RegistrationsTest, Share__what_lies_within) {
  const uint32_t key = Add(Piece(1000, 1000));
  EXPECT_NE(key, 0u);
  EXPECT_EQ(registrations_.Share(Piece(1000, 1000)), key);
  EXPECT_EQ(registrations_.Share(Piece(1000, 1)), key);
  EXPECT_EQ(registrations_.Share(Piece(1999, 1)), key);
  EXPECT_EQ(registrations_.Share(Piece(999, 2)), 0u);
  EXPECT_EQ(registrations_.Share(Piece(1999, 2)), 0u);
  EXPECT_EQ(registrations_.Share(Piece(0, 4096)), 0u);
}

TEST_F(RegistrationsTest, Share__overlapping_ones_stand_side_by_side) {
  const uint32_t wide = Add(Piece(0, 3000));
  const uint32_t late = Add(Piece(2000, 2000));
  const uint32_t small = Add(Piece(100, 8));
  EXPECT_EQ(registrations_.Share(Piece(500, 100)), wide);
  EXPECT_EQ(registrations_.Share(Piece(3500, 100)), late);
  EXPECT_EQ(registrations_.Share(Piece(2900, 200)), late);
  EXPECT_NE(registrations_.Share(Piece(100, 8)), 0u);
  EXPECT_EQ(registrations_.Share(Piece(1500, 2000)), 0u);
  registrations_.Release(small);
  EXPECT_EQ(registrations_.Share(Piece(104, 8)), wide);
}

TEST_F(RegistrationsTest, Share__no_host_memory_for_a_gpus) {
  const uint32_t host = Add(Piece(0, 100));
  EXPECT_FALSE(IsGpu(host));
  EXPECT_EQ(registrations_.Share(Piece(0, 100, MemoryKind::kGpu)), 0u);
  const uint32_t gpu = Add(Piece(0, 100, MemoryKind::kGpu));
  EXPECT_TRUE(IsGpu(gpu));
  EXPECT_EQ(registrations_.Share(Piece(50, 50, MemoryKind::kGpu)), gpu);
}

TEST_F(RegistrationsTest, Release__by_the_last_user) {
  const uint32_t key = Add(Piece(0, 100));
  EXPECT_EQ(registrations_.Share(Piece(0, 50)), key);
  EXPECT_TRUE(registrations_.Release(key).empty());
  EXPECT_EQ(alive_, 1);
  EXPECT_EQ(registrations_.Release(key).size(), 1u);
  EXPECT_EQ(alive_, 0);
  EXPECT_EQ(registrations_.size(), 0u);
  EXPECT_TRUE(registrations_.Release(key).empty());  // Nobody's.
}

// What is mapped at the same address later is other memory.
TEST_F(RegistrationsTest, Release__nothing_is_kept_and_no_number_comes_again) {
  const uint32_t key = Add(Piece(0, 100));
  registrations_.Release(key);
  EXPECT_EQ(registrations_.Share(Piece(0, 100)), 0u);
  EXPECT_NE(Add(Piece(0, 100)), key);
}

TEST(WholePages, HoldTheMemory) {
  auto* const at = reinterpret_cast<std::byte*>(uintptr_t{0x12345});
  const Memory whole = WholePages({at, 0x1000}, 0x1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(whole.data), 0x12000u);
  EXPECT_EQ(whole.length, 0x2000u);
  const Memory already = WholePages(whole, 0x1000);
  EXPECT_EQ(already.data, whole.data);
  EXPECT_EQ(already.length, whole.length);
  // A dma-buf may end where the memory does.
  Memory shared = {at, 0x1000, MemoryKind::kGpu, /*dmabuf=*/7, 0x345};
  EXPECT_EQ(WholePages(shared, 0x1000).data, at);
}

}  // namespace
}  // namespace hawser
