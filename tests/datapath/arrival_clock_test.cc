#include "transport/datapath/dpdk/arrival_clock.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace hawser {
namespace {

constexpr Duration kSecond = Duration::Seconds(1);

// A NIC's clock of so many ticks a second, which showed `first` at time 0.
struct NicClock {
  double hertz;
  uint64_t first = 0;
  uint64_t At(Time now) const {
    return first + static_cast<uint64_t>(hertz * 1e-9 *
                                         static_cast<double>(now.nanos()));
  }
};

Time Start() { return Time() + Duration::Seconds(50); }

TEST(ArrivalClock, TellsNothingBeforeItKnowsThePace) {
  const NicClock nic{1e9};
  ArrivalClock clock;
  EXPECT_EQ(clock.Waited(nic.At(Start()), Start() + Duration::Micros(5)),
            Duration());
  clock.OnReading(nic.At(Start()), Start());
  EXPECT_EQ(clock.Waited(nic.At(Start()), Start() + Duration::Micros(5)),
            Duration());
  // Too soon to tell anything.
  const Time soon = Start() + ArrivalClock::kLeastSpan / 2;
  clock.OnReading(nic.At(soon), soon);
  EXPECT_EQ(clock.Waited(nic.At(soon), soon + Duration::Micros(5)), Duration());
}

TEST(ArrivalClock, AnyPaceAndAnyStart) {
  for (const double hertz : {78.125e6, 156.25e6, 1e9, 2.7e9}) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{1} << 40,
                                 UINT64_MAX - 1'000'000'000}) {  // It wraps.
      const NicClock nic{hertz, first};
      ArrivalClock clock;
      for (int i = 0; i < 4; ++i) {
        const Time now = Start() + i * kSecond;
        clock.OnReading(nic.At(now), now);
      }
      for (const int64_t micros : {1, 20, 3000}) {
        // Before the latest reading, and after.
        for (const Time came : {Start() + 3 * kSecond - Duration::Micros(500),
                                Start() + 3 * kSecond + kSecond / 2}) {
          const Duration waited =
              clock.Waited(nic.At(came), came + Duration::Micros(micros));
          EXPECT_NEAR(static_cast<double>(waited.nanos()),
                      1000.0 * static_cast<double>(micros), 100)
              << hertz << " " << first;
        }
      }
    }
  }
}

TEST(ArrivalClock, AClockThatDriftsIsFollowed) {
  NicClock nic{1e9};
  ArrivalClock clock;
  uint64_t ticks = 0;
  Time now = Start();
  for (int i = 0; i < 100; ++i) {
    nic.hertz *= 1 + 1e-5;  // Worse than any crystal.
    ticks += static_cast<uint64_t>(nic.hertz);
    now = now + kSecond;
    clock.OnReading(ticks, now);
  }
  const Duration waited = clock.Waited(ticks + 1000, now + Duration::Micros(8));
  EXPECT_NEAR(static_cast<double>(waited.nanos()), 7000, 50);
}

TEST(ArrivalClock, AClockThatIsSetIsBelievedAnew) {
  NicClock nic{1e9};
  ArrivalClock clock;
  const auto read = [&](int second) {
    const Time now = Start() + second * kSecond;
    clock.OnReading(nic.At(now), now);
  };
  read(0);
  read(1);
  nic.first += 3'600'000'000'000;  // By an hour.
  const Time came = Start() + kSecond + kSecond / 2;
  EXPECT_EQ(clock.Waited(nic.At(came), came + Duration::Micros(9)), Duration());
  read(2);
  EXPECT_EQ(clock.Waited(nic.At(came), came + Duration::Micros(9)), Duration());
  read(3);
  const Time later = Start() + 3 * kSecond;
  EXPECT_NEAR(
      static_cast<double>(
          clock.Waited(nic.At(later), later + Duration::Micros(9)).nanos()),
      9000, 50);
  nic.first -= 7'200'000'000'000;  // And back by two.
  read(4);
  read(5);
  const Time last = Start() + 5 * kSecond;
  EXPECT_NEAR(
      static_cast<double>(
          clock.Waited(nic.At(last), last + Duration::Micros(9)).nanos()),
      9000, 50);
}

TEST(ArrivalClock, WhatCannotBeIsNoWait) {
  const NicClock nic{1e9};
  ArrivalClock clock;
  clock.OnReading(nic.At(Start()), Start());
  clock.OnReading(nic.At(Start() + kSecond), Start() + kSecond);
  const Time now = Start() + kSecond;
  // From the future, from long ago, and nothing at all.
  EXPECT_EQ(clock.Waited(nic.At(now + Duration::Micros(3)), now), Duration());
  EXPECT_EQ(clock.Waited(nic.At(now), now + 2 * kSecond), Duration());
  EXPECT_EQ(clock.Waited(0, now), Duration());
}

}  // namespace
}  // namespace hawser
