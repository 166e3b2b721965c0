#include "transport/engine/peer.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hawser {
namespace {

std::vector<FlowRecord*> PopAll(ReadyList& list) {
  std::vector<FlowRecord*> records;
  while (!list.empty()) records.push_back(list.Pop());
  return records;
}

TEST(ReadyList, Pop__in_order_of_coming) {
  FlowRecord a, b, c;
  ReadyList list;
  EXPECT_TRUE(list.empty());
  for (FlowRecord* record : {&a, &b, &c}) list.Push(record);
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(PopAll(list), (std::vector{&a, &b, &c}));
  EXPECT_FALSE(a.listed);
}

TEST(ReadyList, Push__once_only) {
  FlowRecord a, b;
  ReadyList list;
  for (FlowRecord* record : {&a, &b, &a, &a}) list.Push(record);
  EXPECT_EQ(PopAll(list), (std::vector{&a, &b}));
  list.Push(&a);  // But again, once it was taken.
  EXPECT_EQ(PopAll(list), (std::vector{&a}));
}

TEST(ReadyList, Push__whoever_was_served_goes_to_the_end) {
  FlowRecord a, b;
  ReadyList list;
  list.Push(&a);
  list.Push(&b);
  std::vector<FlowRecord*> order;
  for (int i = 0; i < 6; ++i) {
    order.push_back(list.Pop());
    list.Push(order.back());
  }
  EXPECT_EQ(order, (std::vector{&a, &b, &a, &b, &a, &b}));
}

TEST(ReadyList, Remove__from_anywhere) {
  FlowRecord records[4];
  for (int gone = 0; gone < 4; ++gone) {
    ReadyList list;
    for (FlowRecord& record : records) list.Push(&record);
    list.Remove(&records[gone]);
    list.Remove(&records[gone]);  // Not there: nothing happens.
    EXPECT_FALSE(records[gone].listed);
    list.Push(&records[gone]);  // The end is still the end.
    std::vector<FlowRecord*> expected;
    for (int i = 0; i < 4; ++i) {
      if (i != gone) expected.push_back(&records[i]);
    }
    expected.push_back(&records[gone]);
    EXPECT_EQ(PopAll(list), expected) << gone;
  }
  ReadyList one;
  one.Push(&records[0]);
  one.Remove(&records[0]);
  EXPECT_TRUE(one.empty());
  one.Push(&records[1]);
  EXPECT_EQ(PopAll(one), (std::vector{&records[1]}));
}

TEST(FlowTable, Find__what_was_added) {
  FlowTable table;
  EXPECT_EQ(table.Find({0}), nullptr);
  EXPECT_EQ(table.Find(kNoFlow), nullptr);
  std::vector<FlowRecord*> records;
  for (int i = 0; i < 100; ++i) {
    auto record = std::make_unique<FlowRecord>();
    records.push_back(record.get());
    const FlowId id = table.Add(std::move(record));
    EXPECT_EQ(records.back()->id, id);
  }
  for (FlowRecord* record : records) {
    EXPECT_EQ(table.Find(record->id), record);
  }
  EXPECT_EQ(table.Find({100}), nullptr);
}

TEST(FlowTable, Remove__its_id_is_never_found_again) {
  FlowTable table;
  const FlowId first = table.Add(std::make_unique<FlowRecord>());
  const FlowId other = table.Add(std::make_unique<FlowRecord>());
  EXPECT_NE(table.Remove(first), nullptr);
  EXPECT_EQ(table.Find(first), nullptr);
  for (size_t i = 0; i < FlowTable::kResting; ++i) {
    // Its slot has not rested yet.
    const FlowId id = table.Add(std::make_unique<FlowRecord>());
    EXPECT_NE(id.value & 0xffff, first.value & 0xffff);
    table.Remove(id);
  }
  const FlowId second = table.Add(std::make_unique<FlowRecord>());
  // The same slot, in another generation.
  EXPECT_EQ(second.value & 0xffff, first.value & 0xffff);
  EXPECT_NE(second, first);
  EXPECT_EQ(table.Find(first), nullptr);
  EXPECT_NE(table.Find(second), nullptr);
  EXPECT_NE(table.Find(other), nullptr);
}

TEST(FlowTable, At__who_was_there_last) {
  FlowTable table;
  EXPECT_EQ(table.At(0), nullptr);
  Peer peer{Duration()};
  auto record = std::make_unique<FlowRecord>();
  record->peer = &peer;
  record->receive = std::make_unique<ReceiveFlow>(FlowId{0}, MessageId{7});
  const FlowId id = table.Add(std::move(record));
  const auto slot = static_cast<uint16_t>(id.value);
  EXPECT_EQ(table.At(slot)->record.get(), table.Find(id));
  table.Remove(id);
  ASSERT_NE(table.At(slot), nullptr);
  EXPECT_EQ(table.At(slot)->record, nullptr);
  EXPECT_EQ(table.At(slot)->peer, &peer);
  EXPECT_EQ(table.At(slot)->id, id);
  EXPECT_EQ(table.At(slot)->oldest, MessageId{7});
}

TEST(FlowTable, Add__until_it_is_full) {
  FlowTable table;
  FlowId last;
  for (int i = 0; i < 0xffff; ++i) {
    last = table.Add(std::make_unique<FlowRecord>());
    ASSERT_NE(last, kNoFlow);
  }
  EXPECT_EQ(table.Add(std::make_unique<FlowRecord>()), kNoFlow);
  table.Remove(last);
  EXPECT_NE(table.Add(std::make_unique<FlowRecord>()), kNoFlow);
}

TEST(FlowTable, ForEach__those_that_are_there) {
  FlowTable table;
  std::vector<FlowId> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(table.Add(std::make_unique<FlowRecord>()));
  }
  table.Remove(ids[1]);
  table.Remove(ids[4]);
  std::vector<FlowId> seen;
  table.ForEach([&](FlowRecord& record) { seen.push_back(record.id); });
  EXPECT_EQ(seen, (std::vector{ids[0], ids[2], ids[3]}));
}

TEST(FlowTableDeathTest, Remove__what_is_not_there) {
  FlowTable table;
  const FlowId id = table.Add(std::make_unique<FlowRecord>());
  table.Remove(id);
  EXPECT_DEATH(table.Remove(id), "Find");
}

TEST(Peer, needed__while_something_waits_for_it) {
  Peer peer{Duration()};
  EXPECT_FALSE(peer.needed());
  peer.busy_flows = 1;
  EXPECT_TRUE(peer.needed());
  peer.busy_flows = 0;
  peer.open_closes = 1;
  EXPECT_TRUE(peer.needed());
}

TEST(Peer, alive__open_or_about_to_leave) {
  Peer peer{Duration()};
  EXPECT_FALSE(peer.alive());
  peer.state = Peer::State::kOpen;
  EXPECT_TRUE(peer.alive());
  peer.state = Peer::State::kLeaving;
  EXPECT_TRUE(peer.alive());
  peer.state = Peer::State::kLost;
  EXPECT_FALSE(peer.alive());
}

TEST(MakeCongestionControl, by_name) {
  Config config;
  // Swift begins with 10 packets, or with less if that is wanted.
  const auto first_window = [&config](const char* name, int window_bytes) {
    config.congestion = name;
    config.window_bytes = window_bytes;
    return MakeCongestionControl(config, 1472)->initial().window_bytes;
  };
  EXPECT_EQ(first_window("fixed_window", 123'456), 123'456u);
  EXPECT_EQ(first_window("dctcp", 123'456), 123'456u);
  EXPECT_EQ(first_window("nscc", 123'456), 123'456u);
  EXPECT_NEAR(first_window("swift", 123'456), 14'720, 1);
  EXPECT_NEAR(first_window("swift", 12'345), 12'345, 1);
}

TEST(DeriveKey, another_for_each_direction_engine_and_life) {
  const wire::EndpointIdentity a{1, 100}, b{2, 200}, b_again{2, 201};
  const wire::PacketKey key = DeriveKey(a, 0, b, 0);
  EXPECT_EQ(key, DeriveKey(a, 0, b, 0));
  EXPECT_NE(key, DeriveKey(b, 0, a, 0));
  EXPECT_NE(key, DeriveKey(a, 1, b, 0));
  EXPECT_NE(key, DeriveKey(a, 0, b, 1));
  EXPECT_NE(key, DeriveKey(a, 0, b_again, 0));
}

}  // namespace
}  // namespace hawser
