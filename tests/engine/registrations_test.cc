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
    return registrations_.Add(
        memory, std::make_shared<const Registrations::Pins>(std::move(pins)));
  }
  // A piece of something that is registered.
  uint32_t AddPiece(const Memory& memory) {
    auto pins = registrations_.PinsOf(memory);
    EXPECT_NE(pins, nullptr);
    return registrations_.Add(memory, std::move(pins));
  }

  std::array<std::byte, 4096> arena_;
  int alive_ = 0;
  Registrations registrations_;
};

TEST_F(RegistrationsTest, Share__the_same_memory_alone) {
  const uint32_t key = Add(Piece(1000, 1000));
  EXPECT_NE(key, 0u);
  EXPECT_EQ(registrations_.Share(Piece(1000, 1000)), key);
  EXPECT_EQ(registrations_.Share(Piece(1000, 999)), 0u);
  EXPECT_EQ(registrations_.Share(Piece(1001, 999)), 0u);
  EXPECT_EQ(registrations_.Share(Piece(999, 1001)), 0u);
}

TEST_F(RegistrationsTest, PinsOf__what_lies_within) {
  Add(Piece(1000, 1000));
  EXPECT_NE(registrations_.PinsOf(Piece(1000, 1000)), nullptr);
  EXPECT_NE(registrations_.PinsOf(Piece(1000, 1)), nullptr);
  EXPECT_NE(registrations_.PinsOf(Piece(1999, 1)), nullptr);
  EXPECT_EQ(registrations_.PinsOf(Piece(999, 2)), nullptr);
  EXPECT_EQ(registrations_.PinsOf(Piece(1999, 2)), nullptr);
  EXPECT_EQ(registrations_.PinsOf(Piece(0, 4096)), nullptr);
}

TEST_F(RegistrationsTest, PinsOf__overlapping_ones_stand_side_by_side) {
  const uint32_t wide = Add(Piece(0, 3000));
  const uint32_t late = Add(Piece(2000, 2000));
  EXPECT_NE(registrations_.PinsOf(Piece(500, 100)), nullptr);
  EXPECT_NE(registrations_.PinsOf(Piece(2900, 200)), nullptr);
  EXPECT_EQ(registrations_.PinsOf(Piece(1500, 2000)), nullptr);
  const uint32_t small = AddPiece(Piece(100, 8));
  EXPECT_EQ(alive_, 2);
  EXPECT_EQ(registrations_.Share(Piece(100, 8)), small);
  EXPECT_EQ(registrations_.Share(Piece(2000, 2000)), late);
  registrations_.Release(wide);
  EXPECT_EQ(registrations_.PinsOf(Piece(500, 100)), nullptr);
  EXPECT_NE(registrations_.PinsOf(Piece(102, 4)), nullptr);
}

TEST_F(RegistrationsTest, PinsOf__no_host_memory_for_a_gpus) {
  const uint32_t host = Add(Piece(0, 100));
  EXPECT_FALSE(IsGpu(host));
  EXPECT_EQ(registrations_.Share(Piece(0, 100, MemoryKind::kGpu)), 0u);
  EXPECT_EQ(registrations_.PinsOf(Piece(0, 50, MemoryKind::kGpu)), nullptr);
  const uint32_t gpu = Add(Piece(0, 100, MemoryKind::kGpu));
  EXPECT_TRUE(IsGpu(gpu));
  EXPECT_TRUE(IsGpu(AddPiece(Piece(50, 50, MemoryKind::kGpu))));
}

TEST_F(RegistrationsTest, Release__by_the_last_user) {
  const uint32_t key = Add(Piece(0, 100));
  EXPECT_EQ(registrations_.Share(Piece(0, 100)), key);
  EXPECT_EQ(registrations_.Release(key), nullptr);
  EXPECT_EQ(alive_, 1);
  EXPECT_NE(registrations_.Release(key), nullptr);
  EXPECT_EQ(alive_, 0);
  EXPECT_EQ(registrations_.size(), 0u);
  EXPECT_EQ(registrations_.Release(key), nullptr);  // Nobody's.
}

// What is mapped at the same address later is other memory.
TEST_F(RegistrationsTest, Release__nothing_is_kept_and_no_number_comes_again) {
  const uint32_t key = Add(Piece(0, 100));
  registrations_.Release(key);
  EXPECT_EQ(registrations_.Share(Piece(0, 100)), 0u);
  EXPECT_EQ(registrations_.PinsOf(Piece(0, 100)), nullptr);
  EXPECT_NE(Add(Piece(0, 100)), key);
}

// A piece that is still in use keeps what it hangs on, and does not lend it to
// what is mapped around it.
TEST_F(RegistrationsTest, Release__a_piece_outlives_the_whole) {
  const uint32_t whole = Add(Piece(0, 1000));
  const uint32_t piece = AddPiece(Piece(900, 100));
  EXPECT_NE(piece, whole);
  registrations_.Release(whole);
  EXPECT_EQ(alive_, 1);
  EXPECT_EQ(registrations_.PinsOf(Piece(0, 1000)), nullptr);
  EXPECT_EQ(registrations_.PinsOf(Piece(800, 50)), nullptr);
  EXPECT_NE(registrations_.PinsOf(Piece(950, 50)), nullptr);
  registrations_.Release(piece);
  EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace hawser
