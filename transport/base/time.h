// A distance on the engine's monotonic clock, a point on it, and bytes over it.
// Knows: nanoseconds, bits per second.  Never: a clock. Time enters the core
// only as an argument `now`.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

namespace hawser {

// A signed length of time. Range: about 292 years either way.
class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration Nanos(int64_t n) { return Duration(n); }
  static constexpr Duration Micros(int64_t n) { return Duration(n * 1'000); }
  static constexpr Duration Millis(int64_t n) {
    return Duration(n * 1'000'000);
  }
  static constexpr Duration Seconds(int64_t n) {
    return Duration(n * 1'000'000'000);
  }
  static constexpr Duration Max() { return Duration(INT64_MAX); }

  constexpr int64_t nanos() const { return nanos_; }
  constexpr int64_t micros() const { return nanos_ / 1'000; }
  constexpr int64_t millis() const { return nanos_ / 1'000'000; }

  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) {
    return Duration(a.nanos_ + b.nanos_);
  }
  friend constexpr Duration operator-(Duration a, Duration b) {
    return Duration(a.nanos_ - b.nanos_);
  }
  friend constexpr Duration operator*(Duration a, int64_t n) {
    return Duration(a.nanos_ * n);
  }
  friend constexpr Duration operator*(int64_t n, Duration a) { return a * n; }
  friend constexpr Duration operator/(Duration a, int64_t n) {
    return Duration(a.nanos_ / n);
  }
  // How many of `b` fit in `a`, as a fraction.
  friend constexpr double operator/(Duration a, Duration b) {
    return static_cast<double>(a.nanos_) / static_cast<double>(b.nanos_);
  }
  constexpr Duration& operator+=(Duration d) { return *this = *this + d; }
  constexpr Duration& operator-=(Duration d) { return *this = *this - d; }

 private:
  constexpr explicit Duration(int64_t n) : nanos_(n) {}
  int64_t nanos_ = 0;
};

// A point on the clock of one engine. Two hosts' points are never compared.
class Time {
 public:
  constexpr Time() = default;
  static constexpr Time FromNanos(int64_t n) { return Time(n); }
  // Later than every real point: "no deadline".
  static constexpr Time Never() { return Time(INT64_MAX); }

  constexpr int64_t nanos() const { return nanos_; }

  friend constexpr auto operator<=>(Time, Time) = default;
  friend constexpr Time operator+(Time t, Duration d) {
    return Time(t.nanos_ + d.nanos());
  }
  friend constexpr Time operator-(Time t, Duration d) {
    return Time(t.nanos_ - d.nanos());
  }
  friend constexpr Duration operator-(Time a, Time b) {
    return Duration::Nanos(a.nanos_ - b.nanos_);
  }

 private:
  constexpr explicit Time(int64_t n) : nanos_(n) {}
  int64_t nanos_ = 0;
};

// Bits per second. Zero means unlimited.
class Rate {
 public:
  constexpr Rate() = default;
  static constexpr Rate Unlimited() { return Rate(0); }
  static constexpr Rate BitsPerSecond(int64_t n) { return Rate(n); }
  static constexpr Rate MegabitsPerSecond(int64_t n) {
    return Rate(n * 1'000'000);
  }
  static constexpr Rate GigabitsPerSecond(int64_t n) {
    return Rate(n * 1'000'000'000);
  }
  // The rate that moves `bytes` in `time`; `time` must be positive.
  static constexpr Rate Of(uint64_t bytes, Duration time) {
    return Rate(std::max<int64_t>(
        1, static_cast<int64_t>(8e9 * static_cast<double>(bytes) /
                                static_cast<double>(time.nanos()))));
  }

  constexpr bool unlimited() const { return bits_per_second_ == 0; }
  constexpr int64_t bits_per_second() const { return bits_per_second_; }
  constexpr Duration TimeToSend(uint64_t bytes) const {
    if (unlimited()) return Duration();
    return Duration::Nanos(
        static_cast<int64_t>(8e9 * static_cast<double>(bytes) /
                             static_cast<double>(bits_per_second_)));
  }
  friend constexpr auto operator<=>(Rate, Rate) = default;

 private:
  constexpr explicit Rate(int64_t n) : bits_per_second_(n) {}
  int64_t bits_per_second_ = 0;
};

}  // namespace hawser
