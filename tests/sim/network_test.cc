#include "transport/sim/network.h"

#include <bit>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace hawser::sim {
namespace {

constexpr LinkId kLink{0, 1, 0, 0};
constexpr Time kStart = Time::FromNanos(1'000'000);

// Two hosts, and what arrives at the second.
class NetworkTest : public testing::Test {
 protected:
  struct Arrival {
    Time at;
    uint32_t number;
    size_t bytes;
    bool marked;
  };
  NetworkTest() {
    SimDatapathOptions options;
    options.room = 1 << 20;
    options.max_packet_bytes = 10'000;
    options.entropies = 4;
    for (int host = 0; host < 2; ++host) {
      doors_.push_back(
          std::make_unique<SimDatapath>(network_, host, 0, options));
    }
    EXPECT_TRUE(doors_[0]->OpenPeer({0}, doors_[1]->address()));
    model().delay = Duration::Micros(10);
  }
  LinkModel& model() { return network_.link(kLink); }
  void Send(uint32_t number, size_t bytes, Time now, uint16_t entropy = 0) {
    std::vector<std::byte> packet(bytes);
    std::memcpy(packet.data(), &number, std::min<size_t>(bytes, 4));
    doors_[0]->SetNow(now);
    const TxPacket tx{{0}, entropy, packet, {}};
    doors_[0]->Send({&tx, 1});
  }
  // Everything that is on its way, in the order in which it arrives.
  std::vector<Arrival> Drain() {
    std::vector<Arrival> arrivals;
    std::vector<int> hosts;
    while (network_.next_event() != Time::Never()) {
      const Time now = network_.next_event();
      hosts.clear();
      network_.OnTime(now, hosts);
      for (const int host : hosts) EXPECT_EQ(host, 1);
      RxPacket packet;
      while (doors_[1]->Receive({&packet, 1}) == 1) {
        uint32_t number = 0;
        std::memcpy(&number, packet.bytes.data(),
                    std::min<size_t>(packet.bytes.size(), 4));
        arrivals.push_back(
            {now, number, packet.bytes.size(), packet.ecn_marked});
        doors_[1]->Recycle();
      }
    }
    return arrivals;
  }

  Network network_{42};
  std::vector<std::unique_ptr<SimDatapath>> doors_;
};

TEST_F(NetworkTest, delay__is_kept_to_the_nanosecond) {
  Send(1, 100, kStart);
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].at, kStart + Duration::Micros(10));
  EXPECT_EQ(arrivals[0].number, 1u);
  EXPECT_EQ(arrivals[0].bytes, 100u);
  EXPECT_FALSE(arrivals[0].marked);
}

TEST_F(NetworkTest, rate__packets_follow_one_another) {
  model().rate = Rate::GigabitsPerSecond(1);  // 1,000 bytes take 8 us.
  for (uint32_t n = 0; n < 10; ++n) Send(n, 1000, kStart);
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 10u);
  for (uint32_t n = 0; n < 10; ++n) {
    EXPECT_EQ(arrivals[n].number, n);
    EXPECT_EQ(arrivals[n].at, kStart + Duration::Micros(10 + 8 * (n + 1)));
  }
}

TEST_F(NetworkTest, queue__what_does_not_fit_is_dropped) {
  model().rate = Rate::GigabitsPerSecond(1);
  model().queue_bytes = 3500;
  for (uint32_t n = 0; n < 10; ++n) Send(n, 1000, kStart);
  EXPECT_EQ(Drain().size(), 3u);
  EXPECT_EQ(network_.counts(kLink).packets, 10u);
  EXPECT_EQ(network_.counts(kLink).dropped, 7u);
  // It has drained by now.
  Send(10, 1000, kStart + Duration::Millis(1));
  EXPECT_EQ(Drain().size(), 1u);
}

TEST_F(NetworkTest, mark_bytes__a_long_queue_marks) {
  model().rate = Rate::GigabitsPerSecond(1);
  model().mark_bytes = 1500;
  for (uint32_t n = 0; n < 5; ++n) Send(n, 1000, kStart);
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 5u);
  for (uint32_t n = 0; n < 5; ++n) EXPECT_EQ(arrivals[n].marked, n >= 2);
}

TEST_F(NetworkTest, chances__are_those_that_were_asked_for) {
  model().loss = 0.1;
  model().ecn = 0.2;
  model().duplicate = 0.3;
  model().echo = 0.4;
  for (uint32_t n = 0; n < 10'000; ++n) Send(n, 100, kStart);
  const auto arrivals = Drain();
  EXPECT_NEAR(static_cast<double>(network_.counts(kLink).dropped), 1000, 100);
  std::set<uint32_t> numbers;
  double marked = 0;
  for (const Arrival& arrival : arrivals) {
    if (numbers.insert(arrival.number).second) marked += arrival.marked;
  }
  const auto first = static_cast<double>(numbers.size());
  EXPECT_NEAR(first, 9000, 100);
  EXPECT_NEAR(marked / first, 0.2, 0.02);
  EXPECT_NEAR(static_cast<double>(arrivals.size()) / first, 1.7, 0.03);
}

TEST_F(NetworkTest, jitter__keeps_the_order) {
  model().jitter = Duration::Micros(100);
  for (uint32_t n = 0; n < 1000; ++n) {
    Send(n, 100, kStart + Duration::Micros(n));
  }
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 1000u);
  Duration most;
  for (uint32_t n = 0; n < 1000; ++n) {
    EXPECT_EQ(arrivals[n].number, n);
    const Duration took = arrivals[n].at - (kStart + Duration::Micros(n));
    EXPECT_GE(took, Duration::Micros(10));
    EXPECT_LE(took, Duration::Micros(110));
    most = std::max(most, took);
  }
  EXPECT_GT(most, Duration::Micros(90));
}

TEST_F(NetworkTest, overtake__does_not) {
  model().overtake = 0.5;
  for (uint32_t n = 0; n < 1000; ++n) {
    Send(n, 100, kStart + Duration::Micros(n));
  }
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 1000u);
  uint32_t late = 0;
  for (size_t i = 1; i < arrivals.size(); ++i) {
    late += arrivals[i].number < arrivals[i - 1].number;
  }
  EXPECT_GT(late, 100u);
}

TEST_F(NetworkTest, corrupt__flips_one_to_four_bits) {
  model().corrupt = 1;
  std::vector<int> hosts;
  std::set<int> flips;
  for (int i = 0; i < 200; ++i) {
    const std::vector<std::byte> packet(64);
    network_.OnSend(kLink, packet, kStart);
    network_.OnTime(network_.next_event(), hosts);
    RxPacket rx;
    ASSERT_EQ(doors_[1]->Receive({&rx, 1}), 1u);
    int bits = 0;
    for (const std::byte b : rx.bytes) {
      bits += std::popcount(static_cast<uint8_t>(b));
    }
    flips.insert(bits);
    doors_[1]->Recycle();
  }
  EXPECT_GE(*flips.rbegin(), 3);
  EXPECT_LE(*flips.rbegin(), 4);
  EXPECT_TRUE(flips.contains(1));
}

TEST_F(NetworkTest, dark_and_max_bytes__nothing_passes) {
  model().dark = true;
  Send(1, 100, kStart);
  model().dark = false;
  model().max_bytes = 1000;
  Send(2, 1001, kStart);
  Send(3, 1000, kStart);
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].number, 3u);
}

TEST_F(NetworkTest, links__are_apart) {
  model().dark = true;
  Send(1, 100, kStart, /*entropy=*/0);
  Send(2, 100, kStart, /*entropy=*/1);
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].number, 2u);
}

TEST_F(NetworkTest, port__is_where_links_meet) {
  PortModel& port = network_.port(1, 0);
  port.rate = Rate::GigabitsPerSecond(1);
  port.queue_bytes = 3500;
  port.mark_bytes = 1500;
  for (uint16_t e = 0; e < 4; ++e) {
    network_.link({0, 1, 0, e}).delay = Duration::Micros(10);
    Send(e, 1000, kStart, e);
  }
  const auto arrivals = Drain();
  ASSERT_EQ(arrivals.size(), 3u);
  for (uint32_t n = 0; n < 3; ++n) {
    EXPECT_EQ(arrivals[n].number, n);
    EXPECT_EQ(arrivals[n].at, kStart + Duration::Micros(10 + 8 * (n + 1)));
    EXPECT_EQ(arrivals[n].marked, n == 2);
  }
  EXPECT_EQ(network_.counts({0, 1, 0, 3}).dropped, 1u);
}

TEST_F(NetworkTest, hash__same_calls_same_hash) {
  const auto run = [](uint64_t seed, size_t bytes) {
    Network network(seed);
    SimDatapathOptions options;
    SimDatapath here(network, 0, 0, options), there(network, 1, 0, options);
    network.link(kLink).loss = 0.5;
    network.link(kLink).jitter = Duration::Micros(9);
    for (int i = 0; i < 100; ++i) {
      network.OnSend(kLink, std::vector<std::byte>(bytes), kStart);
    }
    std::vector<int> hosts;
    network.OnTime(kStart + Duration::Seconds(1), hosts);
    return network.hash();
  };
  EXPECT_EQ(run(1, 100), run(1, 100));
  EXPECT_NE(run(1, 100), run(2, 100));
  EXPECT_NE(run(1, 100), run(1, 101));
}

TEST_F(NetworkTest, Listen__hears_what_leaves) {
  size_t heard = 0;
  network_.Listen([&](const LinkId& id, std::span<const std::byte> bytes) {
    EXPECT_EQ(id, kLink);
    EXPECT_EQ(bytes.size(), 77u);
    ++heard;
  });
  model().dark = true;
  Send(1, 77, kStart);
  EXPECT_EQ(heard, 1u);
}

// --- The door --------------------------------------------------------------

TEST_F(NetworkTest, room__is_used_up_and_filled_again) {
  SimDatapathOptions options;
  options.room = 2;
  SimDatapath door(network_, 0, 0, options);
  ASSERT_TRUE(door.OpenPeer({5}, doors_[1]->address()));
  const std::vector<std::byte> bytes(10);
  const TxPacket packet{{5}, 0, bytes, {}};
  door.Send({&packet, 1});
  EXPECT_EQ(door.tx_room(), 1u);
  door.Send({&packet, 1});
  EXPECT_EQ(door.tx_room(), 0u);
  door.Refill();
  EXPECT_EQ(door.tx_room(), 2u);
}

TEST_F(NetworkTest, ClosePeer__sends_no_more) {
  doors_[0]->ClosePeer({0});
  Send(1, 100, kStart);
  EXPECT_TRUE(Drain().empty());
}

TEST_F(NetworkTest, OpenPeer__refuses_what_is_no_address_of_its_kind) {
  EXPECT_FALSE(doors_[0]->OpenPeer({1}, PlaneAddress()));
}

TEST_F(NetworkTest, waited__is_the_time_in_the_mailbox) {
  Send(1, 100, kStart);
  std::vector<int> hosts;
  network_.OnTime(network_.next_event(), hosts);
  doors_[1]->SetNow(kStart + Duration::Micros(30));
  RxPacket packet;
  ASSERT_EQ(doors_[1]->Receive({&packet, 1}), 1u);
  EXPECT_EQ(packet.waited, Duration::Micros(20));
}

// A host with fewer planes has them counted round, as an engine does.
TEST_F(NetworkTest, plane__beyond_the_last_is_the_first) {
  network_.OnSend({0, 1, 3, 0}, std::vector<std::byte>(8), kStart);
  EXPECT_EQ(Drain().size(), 1u);
}

}  // namespace
}  // namespace hawser::sim
