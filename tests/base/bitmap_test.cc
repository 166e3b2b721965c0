#include "transport/base/bitmap.h"

#include <gtest/gtest.h>

#include <vector>

namespace hawser {
namespace {

std::vector<size_t> In(const Bitmap& bits) {
  std::vector<size_t> in;
  bits.ForEach([&](size_t i) { in.push_back(i); });
  return in;
}

TEST(Bitmap, Put__one_by_one) {
  Bitmap bits(130);
  for (const size_t i : {129, 0, 63, 64}) bits.Add(i);
  EXPECT_EQ(In(bits), (std::vector<size_t>{0, 63, 64, 129}));
  bits.Put(63, false);
  bits.Put(1, true);
  bits.Remove(128);
  EXPECT_EQ(In(bits), (std::vector<size_t>{0, 1, 64, 129}));
  EXPECT_TRUE(bits.Has(129));
  EXPECT_FALSE(bits.Has(63));
  EXPECT_EQ(bits.words().size(), 3u);
  EXPECT_EQ(bits.words()[0], 3u);
  bits.Clear();
  EXPECT_TRUE(In(bits).empty());
}

TEST(Bitmap, Remove__all_of_another) {
  Bitmap some(100), others(100);
  some.Add(1);
  some.Add(99);
  others.Add(99);
  others.Add(50);
  some.Remove(others);
  EXPECT_EQ(In(some), (std::vector<size_t>{1}));
}

TEST(Bitmap, ForEach__what_is_removed_meanwhile) {
  Bitmap bits(70);
  bits.Add(3);
  bits.Add(69);
  bits.ForEach([&](size_t i) { bits.Remove(i); });
  EXPECT_TRUE(In(bits).empty());
}

}  // namespace
}  // namespace hawser
