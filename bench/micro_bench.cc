// What the hot functions cost, one by one: the ring between threads, the
// codec, a path's whole round (send, receive, ack, settle), loss detection and
// path choice. Run it on a quiet core; compare medians of interleaved runs:
//   build/release/micro_bench --benchmark_repetitions=9
//       --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "transport/base/copy_lines.h"
#include "transport/base/random.h"
#include "transport/base/spsc_ring.h"
#include "transport/congestion/fixed_window.h"
#include "transport/congestion/swift.h"
#include "transport/message/receive_flow.h"
#include "transport/message/send_flow.h"
#include "transport/path/path.h"
#include "transport/spray/adaptive.h"
#include "transport/spray/round_robin.h"
#include "transport/wire/header.h"

namespace hawser {
namespace {

constexpr wire::PacketKey kKey = 0x0123456789abcdef;
constexpr uint32_t kPacketBytes = 8192;

void SpscRing__push_and_pop(benchmark::State& state) {
  auto ring = std::make_unique<SpscRing<uint8_t, 32>>();
  uint8_t value = 0;
  for (auto _ : state) {
    ring->Push(value);
    ring->Pop(&value);
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(SpscRing__push_and_pop);

void CopyLines__bytes(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  std::vector<std::byte> from(bytes), to(bytes);
  for (auto _ : state) {
    CopyLines(to.data(), from.data(), bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(CopyLines__bytes)->Arg(1456)->Arg(8192)->Arg(1 << 20);

wire::PacketHeader DataHeader() {
  wire::PacketHeader header;
  header.peer = PeerId{3};
  header.path = PathId{7};
  header.number = PacketNumber{123456};
  header.cargo.length = kPacketBytes;
  header.cargo.offset = 65536;
  return header;
}

void EncodePacket__data(benchmark::State& state) {
  const wire::PacketHeader header = DataHeader();
  std::array<std::byte, wire::kMaxHeaderBytes> out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(wire::EncodePacket(header, kKey, out));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(EncodePacket__data);

void DecodePacket__data(benchmark::State& state) {
  std::vector<std::byte> packet(wire::kMaxHeaderBytes + kPacketBytes);
  const size_t size = wire::EncodePacket(DataHeader(), kKey, packet);
  packet.resize(size + kPacketBytes);
  const wire::Expected expected{PacketNumber{123450}, FlowId{}, MessageId{}};
  for (auto _ : state) {
    auto decoded = wire::DecodePacket(packet, kKey, expected);
    benchmark::DoNotOptimize(decoded);
  }
}
BENCHMARK(DecodePacket__data);

// What is known of a packet before it is received: its header.
void DecodeFront__data(benchmark::State& state) {
  std::vector<std::byte> front(wire::kMaxHeaderBytes);
  front.resize(wire::EncodePacket(DataHeader(), kKey, front));
  const wire::Expected expected{PacketNumber{123450}, FlowId{}, MessageId{}};
  for (auto _ : state) {
    const auto prologue = wire::DecodePrologue(front);
    auto header =
        wire::DecodeFront(front, *prologue, kKey, expected, kPacketBytes);
    benchmark::DoNotOptimize(header);
  }
}
BENCHMARK(DecodeFront__data);

void CheckOf__payload(benchmark::State& state) {
  const std::vector<std::byte> payload(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(wire::CheckOf(payload, kKey));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(CheckOf__payload)->Arg(36)->Arg(8192);

Path MakePath(uint16_t id) {
  return {PathId{id}, std::make_unique<FixedWindow>(1u << 30), PathOptions()};
}

// One packet's life on its path, all but the wire: per packet, with an ack for
// every `range` of them.
void Path__send_receive_ack_settle(benchmark::State& state) {
  const auto batch = static_cast<int>(state.range(0));
  Path here = MakePath(0), there = MakePath(0);
  SettledList settled;
  settled.reserve(4096);
  Time now = Time::FromNanos(1'000'000);
  wire::PacketHeader header = DataHeader();
  for (auto _ : state) {
    for (int i = 0; i < batch; ++i) {
      const auto numbered = here.Send(header.cargo, kPacketBytes, now);
      header.number = numbered.number;
      header.open_span = numbered.open_span;
      header.ack_now = i + 1 == batch;
      there.OnPacket(header, false, now);
    }
    now = now + Duration::Micros(10);
    const auto ack = there.TakeAck(now);
    here.OnAck(*ack, now, settled, now);
    settled.clear();
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(Path__send_receive_ack_settle)->Arg(1)->Arg(8)->Arg(46);

// An ack that shows `range` losses among 64 packets.
void LossDetector__ack_with_losses(benchmark::State& state) {
  SettledList settled;
  settled.reserve(4096);
  SentLog log;
  LossDetector losses;
  Time now = Time::FromNanos(1'000'000);
  for (auto _ : state) {
    PacketNumber last;
    for (int i = 0; i < 64; ++i) last = log.Add({}, kPacketBytes, now);
    wire::Ack ack;
    ack.largest = last;
    ack.words = 1;
    ack.arrived[0] = ~uint64_t{0};
    for (int64_t i = 0; i < state.range(0); ++i) {
      ack.arrived[0] &= ~(uint64_t{1} << (8 + i));
    }
    losses.OnAck(ack, log, PathId{0}, Duration::Micros(10), settled);
    log.Trim(log.end());
    settled.clear();
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(LossDetector__ack_with_losses)->Arg(0)->Arg(8);

template <class Scheduler>
void Pick(benchmark::State& state, Scheduler scheduler) {
  std::vector<Path> paths;
  SettledList settled;
  const auto count = static_cast<uint16_t>(state.range(0));
  Time now = Time::FromNanos(1'000'000);
  Random random(1);
  for (uint16_t p = 0; p < count; ++p) {
    paths.push_back(MakePath(p));
    wire::PacketHeader header = DataHeader();
    Path far = MakePath(p);
    const auto first = paths[p].Send(header.cargo, kPacketBytes, now);
    header.number = first.number;
    far.OnPacket(header, false, now);
    paths[p].OnAck(*far.TakeAck(now), now, settled,
                   now + Duration::Micros(10 + random.Below(50)));
    for (uint64_t i = random.Below(8); i > 0; --i) {
      paths[p].Send(header.cargo, kPacketBytes, now);
    }
  }
  std::vector<uint64_t> sendable((count + 63) / 64, ~uint64_t{0});
  if (count % 64 != 0) sendable.back() = (uint64_t{1} << count % 64) - 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(scheduler.Pick({paths, sendable}, now));
    now = now + Duration::Nanos(100);
  }
}
void RoundRobin__Pick(benchmark::State& state) { Pick(state, RoundRobin()); }
void Adaptive__Pick(benchmark::State& state) {
  Pick(state, Adaptive(static_cast<uint16_t>(state.range(0)), 1));
}
BENCHMARK(RoundRobin__Pick)->Arg(8)->Arg(32)->Arg(256);
BENCHMARK(Adaptive__Pick)->Arg(8)->Arg(32)->Arg(256);

void Swift__OnAck(benchmark::State& state) {
  Swift swift({});
  AckEvent ack;
  ack.rtt = Duration::Micros(50);
  ack.acked_bytes = kPacketBytes;
  ack.in_flight_bytes = 1 << 20;
  for (auto _ : state) {
    ack.now = ack.now + Duration::Micros(1);
    benchmark::DoNotOptimize(swift.OnAck(ack));
  }
}
BENCHMARK(Swift__OnAck);

// One message of 512 KiB from a send flow to a receive flow, nothing between;
// with 1, whoever puts the bytes where they belong is not us, and they are
// looked for a place first.
void Flows__message(benchmark::State& state) {
  const bool placed = state.range(0) != 0;
  constexpr uint32_t kMessageBytes = 512 * 1024;
  std::vector<std::byte> from(kMessageBytes), to(kMessageBytes);
  SendFlow send(FlowId{0});
  ReceiveFlow receive(FlowId{0});
  Request sent, received;
  sent.memory = {from.data(), kMessageBytes, 0};
  received.memory = {to.data(), kMessageBytes, 0};
  received.watched = !placed;
  for (auto _ : state) {
    receive.OnPosted(&received);
    receive.Admit(ReceiveFlow::kNoLimit);
    send.OnSubmitted(&sent);
    const auto grant = receive.Next();
    send.OnGrant(*grant, receive.Describe(*grant));
    receive.OnSettled(*grant, true);
    while (const auto cargo = send.Next(kPacketBytes)) {
      const MemorySlice payload = send.Payload(*cargo);
      const bool last = send.IsLast(*cargo);
      receive.OnData(
          *cargo, last,
          placed ? std::span<const std::byte>(receive.PlaceOf(*cargo, last))
                 : std::span<const std::byte>(payload.data, payload.length));
      send.OnSettled(*cargo, true);
    }
  }
  state.SetBytesProcessed(state.iterations() * kMessageBytes);
}
BENCHMARK(Flows__message)->Arg(0)->Arg(1);

}  // namespace
}  // namespace hawser

BENCHMARK_MAIN();
