// The ring algorithms, cut the way NCCL cuts them. Elements are dealt to
// channels; a channel goes round the ring in loops; in one loop every rank
// owns one share, and a share travels as up to four slices, half the slots of
// a comm, so that one slice is reduced while the next is on its way.
//
// A small all-reduce is a matter of hops, not of bytes, and a ring has
// 2 (ranks - 1) of them. Recursive doubling has log2(ranks): in round k a rank
// exchanges its whole sum so far with rank XOR 2^k. See Thakur, Rabenseifner
// and Gropp, "Optimization of Collective Communication Operations in MPICH",
// IJHPCA 2005. In a star all send to rank 0, which sends the sum to all: two
// hops, and of all the ways the fewest messages.
#include "bench/collectives.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

namespace hawser::bench {
namespace {

constexpr size_t kSlicesPerShare = 4;
// Smaller slices cost more in messages, and in the packets that end them, than
// their overlap brings (docs/performance.md).
constexpr size_t kSliceBytesMin = 256 << 10;
// A channel with less than this to do is not worth its wake-ups.
constexpr size_t kChannelBytesMin = 1 << 20;
// Doubling sends and adds the whole vector in each round, so it is ahead for as
// long as hops cost more than bytes: the largest size for which it is taken,
// for 2 ranks and from 4 on.
constexpr size_t kPairBytesMax = 128 << 10;
constexpr size_t kDoublingBytesMax = 16 << 10;
// Of a star, rank 0 has all the work: it is for a few ranks only.
constexpr int kStarRanksMax = 4;
constexpr size_t kStarBytesMax = 64 << 10;
// Halving has fewer rounds than the ring, and each rank sends to whom it
// receives from, so that grants and acks go along; the ring has larger slices
// under way in between.
constexpr size_t kHalvingBytesMax = 8 << 20;
// All slices of half the shares are sent before the first is received: into the
// slots that the far side has posted, and our own.
static_assert(kHalvingRanksMax / 2 * kSlicesPerShare <= 2 * kSlots);
// Cuts lie on lines of LL128, so that copies stay aligned.
constexpr size_t kCutBytes = 128;

size_t RoundUp(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

size_t DivideUp(size_t value, size_t by) { return (value + by - 1) / by; }

struct Range {
  size_t begin = 0;
  size_t end = 0;
  size_t bytes() const { return end - begin; }
};

// `count` nearly equal parts of `bytes`, cut on lines; the last may be empty.
Range Part(size_t bytes, size_t index, size_t count) {
  const size_t each = RoundUp(DivideUp(bytes, count), kCutBytes);
  return {std::min(bytes, index * each), std::min(bytes, (index + 1) * each)};
}

int ChannelsFor(size_t bytes, int channels_max) {
  const size_t worth = std::max<size_t>(1, bytes / kChannelBytesMin);
  return static_cast<int>(std::min(worth, static_cast<size_t>(channels_max)));
}

bool IsPowerOfTwo(int ranks) {
  return std::has_single_bit(static_cast<unsigned>(ranks));
}

// log2 of a power of two.
size_t RoundsOf(int ranks) {
  return static_cast<size_t>(std::bit_width(static_cast<unsigned>(ranks)) - 1);
}

// One step per slice of `range`; both ends of a comm cut a range alike. An
// empty range is one empty step. `like` says what happens; its offsets are
// where range offset 0 lies.
void AppendSlices(Range range, const Step& like, size_t slice_bytes,
                  std::vector<Step>* steps) {
  const size_t bytes = range.bytes();
  const size_t wanted =
      std::clamp<size_t>(DivideUp(bytes, kSliceBytesMin), 1, kSlicesPerShare);
  const size_t slice = std::clamp<size_t>(
      RoundUp(DivideUp(bytes, wanted), kCutBytes), kCutBytes, slice_bytes);
  size_t at = range.begin;
  do {
    Step step = like;
    step.bytes = std::min(slice, range.end - at);
    step.input += at;
    step.output += at;
    steps->push_back(step);
    at += step.bytes;
  } while (at < range.end);
}

constexpr Step kSend{.send = true, .in_place = true};
constexpr Step kRelay{.relay = true, .send = true};
constexpr Step kHandOn{.relay = true, .send = true, .in_place = true};
constexpr Step kCopy{.write = true};
constexpr Step kCopySend{.write = true, .send = true, .in_place = true};
constexpr Step kRecv{.receive = true, .write = true, .in_place = true};
constexpr Step kRecvSend{
    .receive = true, .write = true, .send = true, .in_place = true};
constexpr Step kRecvReduceSend{.receive = true, .reduce = true, .send = true};
constexpr Step kRecvReduce{.receive = true, .reduce = true, .write = true};
constexpr Step kRecvReduceBoth{.receive = true,
                               .reduce = true,
                               .write = true,
                               .send = true,
                               .in_place = true};

Step Over(Step step, size_t recv_hop, size_t send_hop) {
  step.recv_hop = recv_hop;
  step.send_hop = send_hop;
  return step;
}

Step At(Step step, size_t input, size_t output) {
  step.input = input;
  step.output = output;
  return step;
}

// Calls `loop` for each piece of the channel's range that fits the slots.
void ForEachLoop(Range range, size_t loop_bytes,
                 const std::function<void(Range)>& loop) {
  size_t at = range.begin;
  do {
    const size_t end = std::min(range.end, at + loop_bytes);
    loop({at, end});
    at = end;
  } while (at < range.end);
}

size_t ShareBytesMax(const Placement& placement) {
  return kSlicesPerShare * placement.slice_bytes;
}

// The slices of one rank's share of `range`.
void AppendShare(Range range, size_t share, const Step& like,
                 const Placement& placement, std::vector<Step>* steps) {
  Range part = Part(range.bytes(), share, static_cast<size_t>(placement.ranks));
  part.begin += range.begin;
  part.end += range.begin;
  AppendSlices(part, like, placement.slice_bytes, steps);
}

// A program for each channel that is worth it for `worth_bytes`, of the steps
// that `loop` appends for each piece of the channel's part of `bytes`.
std::vector<Program> ProgramsOf(
    size_t bytes, size_t worth_bytes, size_t loop_bytes,
    const Placement& placement,
    const std::function<void(Range, std::vector<Step>*)>& loop) {
  const int channels = ChannelsFor(worth_bytes, placement.channels);
  std::vector<Program> programs;
  for (int channel = 0; channel < channels; ++channel) {
    Program program{channel, {}};
    const Range range = Part(bytes, static_cast<size_t>(channel),
                             static_cast<size_t>(channels));
    ForEachLoop(range, loop_bytes,
                [&](Range piece) { loop(piece, &program.steps); });
    programs.push_back(std::move(program));
  }
  return programs;
}

// Reduce-scatter and all-gather in one go: after ranks - 1 steps a rank holds
// the sum of its own share, after ranks - 1 more everyone holds all.
void AllReduceLoop(Range range, const Placement& placement,
                   std::vector<Step>* steps) {
  const auto ranks = static_cast<size_t>(placement.ranks);
  const auto rank = static_cast<size_t>(placement.rank);
  const auto append = [&](const Step& step, size_t share) {
    AppendShare(range, share % ranks, step, placement, steps);
  };
  append(kSend, rank + ranks - 1);
  for (size_t j = 2; j < ranks; ++j) {
    append(kRecvReduceSend, rank + ranks - j);
  }
  append(kRecvReduceBoth, rank);
  for (size_t j = 1; j + 1 < ranks; ++j) append(kRecvSend, rank + ranks - j);
  append(kRecv, rank + 1);
}

// `range` lies within one share; block b of the input begins at b * block.
void ReduceScatterLoop(Range range, size_t block, const Placement& placement,
                       std::vector<Step>* steps) {
  const auto ranks = static_cast<size_t>(placement.ranks);
  const auto rank = static_cast<size_t>(placement.rank);
  const auto append = [&](const Step& step, size_t share) {
    AppendSlices(range, At(step, share % ranks * block, 0),
                 placement.slice_bytes, steps);
  };
  append(kSend, rank + ranks - 1);
  for (size_t j = 2; j < ranks; ++j) {
    append(kRecvReduceSend, rank + ranks - j);
  }
  append(kRecvReduce, rank);
}

void AllGatherLoop(Range range, size_t block, const Placement& placement,
                   std::vector<Step>* steps) {
  const auto ranks = static_cast<size_t>(placement.ranks);
  const auto rank = static_cast<size_t>(placement.rank);
  const auto append = [&](const Step& step, size_t share) {
    AppendSlices(range, At(step, 0, share % ranks * block),
                 placement.slice_bytes, steps);
  };
  append(kCopySend, rank);
  for (size_t j = 1; j + 1 < ranks; ++j) append(kRecvSend, rank + ranks - j);
  append(kRecv, rank + 1);
}

std::vector<Program> RingPrograms(Operation operation, const Extent& extent,
                                  const Placement& placement) {
  const auto ranks = static_cast<size_t>(placement.ranks);
  const bool all_reduce = operation == Operation::kAllReduce;
  // All-reduce goes round with everything, the others with one rank's share.
  const size_t bytes = extent.elements * placement.element_bytes;
  const size_t loop_bytes = ShareBytesMax(placement) * (all_reduce ? ranks : 1);
  return ProgramsOf(bytes, all_reduce ? bytes : bytes * ranks, loop_bytes,
                    placement, [&](Range loop, std::vector<Step>* steps) {
                      if (all_reduce) {
                        AllReduceLoop(loop, placement, steps);
                      } else if (operation == Operation::kReduceScatter) {
                        ReduceScatterLoop(loop, bytes, placement, steps);
                      } else {
                        AllGatherLoop(loop, bytes, placement, steps);
                      }
                    });
}

// A rank sums what it received and what it holds, its partner the same two the
// other way round: both get the same bits, and so does everyone in the end.
void DoublingLoop(Range range, const Placement& placement,
                  std::vector<Step>* steps) {
  const size_t rounds = RoundsOf(placement.ranks);
  const auto append = [&](const Step& step) {
    AppendSlices(range, step, placement.slice_bytes, steps);
  };
  append(Over(kSend, 0, placement.first_hop));
  for (size_t round = 0; round < rounds; ++round) {
    const size_t hop = placement.first_hop + round;
    Step step = round + 1 < rounds ? kRecvReduceBoth : kRecvReduce;
    // The output holds the sum so far, but before the first it holds none.
    step.accumulate = round > 0;
    step.in_place = false;  // The next round adds to what this one sends.
    append(Over(step, hop, hop + 1));
  }
}

// Recursive halving, then recursive doubling (R. Thakur, R. Rabenseifner, W.
// Gropp, "Optimization of Collective Communication Operations in MPICH", 2005,
// section 4.5). In each round the ranks that still hold sums of the same shares
// part into two halves, and a rank sends its partner in the other half what
// that goes on with; in the end each has the sum of its own share. Then all of
// it the other way round.
//
// Shares are counted from a rank's own, by `^`: so both partners name them in
// the same order. What is to be passed on comes first.
void HalvingLoop(Range range, const Placement& placement,
                 std::vector<Step>* steps) {
  const auto ranks = static_cast<size_t>(placement.ranks);
  const auto rank = static_cast<size_t>(placement.rank);
  const size_t rounds = RoundsOf(placement.ranks);
  const auto append = [&](const Step& step, size_t share) {
    AppendShare(range, share, step, placement, steps);
  };
  const auto hop = [&](size_t round) { return placement.first_hop + round; };
  const auto distance = [&](size_t round) { return ranks >> (round + 1); };
  // What lies in the output already goes to all partners of rounds before.
  const auto hand_on = [&](size_t round, size_t share) {
    while (round-- > 0) append(Over(kHandOn, 0, hop(round)), share);
  };

  for (size_t i = distance(0); i-- > 0;) {
    append(Over(kSend, 0, hop(0)), rank ^ distance(0) ^ i);
  }
  for (size_t round = 0; round < rounds; ++round) {
    const bool last = round + 1 == rounds;
    for (size_t i = distance(round); i-- > 0;) {
      const bool passes = !last && i >= distance(round + 1);
      Step step = last     ? kRecvReduceBoth
                  : passes ? kRecvReduceSend
                           : kRecvReduce;
      step.accumulate = round > 0;
      append(Over(step, hop(round), last ? hop(round) : hop(round + 1)),
             rank ^ i);
    }
  }
  hand_on(rounds - 1, rank);
  for (size_t round = rounds; round-- > 0;) {
    for (size_t i = 0; i < distance(round); ++i) {
      const size_t share = rank ^ distance(round) ^ i;
      if (round == 0) {
        append(Over(kRecv, hop(0), 0), share);
      } else {
        append(Over(kRecvSend, hop(round), hop(round - 1)), share);
        hand_on(round - 1, share);
      }
    }
  }
}

// The hop to a rank that is so far ahead is its hop from us; all but the
// ring's.
void StarLoop(Range range, const Placement& placement,
              std::vector<Step>* steps) {
  const auto ranks = static_cast<size_t>(placement.ranks);
  const auto rank = static_cast<size_t>(placement.rank);
  const auto to = [&](size_t peer) {
    return placement.first_hop + (peer + ranks - rank) % ranks - 1;
  };
  const auto from = [&](size_t peer) {
    return placement.first_hop + (rank + ranks - peer) % ranks - 1;
  };
  const auto append = [&](const Step& step) {
    AppendSlices(range, step, placement.slice_bytes, steps);
  };
  if (rank != 0) {
    append(Over(kSend, 0, to(0)));
    append(Over(kRecv, from(0), 0));
    return;
  }
  for (size_t peer = 1; peer < ranks; ++peer) {
    Step step = kRecvReduce;
    step.accumulate = peer > 1;
    append(Over(step, from(peer), 0));
  }
  for (size_t peer = 1; peer < ranks; ++peer) {
    append(Over(kRelay, 0, to(peer)));
  }
}

// A one-way stream: every slice as large as it may be, as NCCL's p2p does.
void AppendStream(Range range, const Step& like, const Placement& placement,
                  std::vector<Step>* steps) {
  ForEachLoop(range, placement.slice_bytes, [&](Range slice) {
    Step step = like;
    step.bytes = slice.bytes();
    step.input += slice.begin;
    step.output += slice.begin;
    steps->push_back(step);
  });
}

// Sends and receives of a pair are programs of their own: neither waits for
// the other.
std::vector<Program> PairPrograms(Operation operation, const Extent& extent,
                                  const Placement& placement) {
  const size_t bytes = extent.elements * placement.element_bytes;
  const auto ranks = static_cast<size_t>(placement.ranks);
  const auto rank = static_cast<size_t>(placement.rank);
  const bool all_to_all = operation == Operation::kAllToAll;
  const int channels = ChannelsFor(bytes, placement.channels);
  std::vector<Program> programs;
  for (size_t hop = 0; hop < (all_to_all ? ranks - 1 : 1); ++hop) {
    const size_t distance = hop + 1;
    const size_t to = all_to_all ? (rank + distance) % ranks : 0;
    const size_t from = all_to_all ? (rank + ranks - distance) % ranks : 0;
    for (int channel = 0; channel < channels; ++channel) {
      const Range range = Part(bytes, static_cast<size_t>(channel),
                               static_cast<size_t>(channels));
      Program out{channel, {}};
      AppendStream(range, At(Over(kSend, 0, hop), to * bytes, 0), placement,
                   &out.steps);
      Program in{channel, {}};
      AppendStream(range, At(Over(kRecv, hop, 0), 0, from * bytes), placement,
                   &in.steps);
      programs.push_back(std::move(out));
      programs.push_back(std::move(in));
    }
  }
  if (all_to_all && bytes > 0) {
    Program own{0, {}};
    AppendStream({0, bytes}, At(kCopy, rank * bytes, rank * bytes), placement,
                 &own.steps);
    programs.push_back(std::move(own));
  }
  return programs;
}

// What Algorithm::kAuto takes, in the order of sizes; the last has no limit.
std::vector<Choice> ChoicesOf(int ranks) {
  std::vector<Choice> choices;
  if (ranks == 2) {
    choices.push_back({Algorithm::kDoubling, kPairBytesMax});
  } else if (ranks <= kStarRanksMax) {
    choices.push_back({Algorithm::kStar, kStarBytesMax});
  } else if (IsPowerOfTwo(ranks)) {
    choices.push_back({Algorithm::kDoubling, kDoublingBytesMax});
  }
  // Of two ranks it would be the ring.
  if (ranks > 2 && ranks <= kHalvingRanksMax && IsPowerOfTwo(ranks)) {
    choices.push_back({Algorithm::kHalving, kHalvingBytesMax});
  }
  choices.push_back({Algorithm::kRing, SIZE_MAX});
  return choices;
}

// Many hops, but for some sizes only: they get no more than these need.
std::vector<Hop> OwnHops(const Options& options, const Choice& choice) {
  const int rank = options.rank;
  const int ranks = options.ranks;
  const size_t slot_bytes = std::clamp(RoundUp(choice.bytes_max, kCutBytes),
                                       kCutBytes, options.slice_bytes);
  const int channels = ChannelsFor(choice.bytes_max, options.channels);
  std::vector<Hop> hops;
  const auto add_partner = [&](int bit) {
    hops.push_back({rank ^ bit, rank ^ bit, channels, slot_bytes});
  };
  switch (choice.algorithm) {
    case Algorithm::kDoubling:
      for (int bit = 1; bit < ranks; bit <<= 1) add_partner(bit);
      break;
    case Algorithm::kHalving:
      for (int bit = ranks / 2; bit > 0; bit >>= 1) add_partner(bit);
      break;
    case Algorithm::kStar:
      for (int distance = 1; distance < ranks; ++distance) {
        hops.push_back({(rank + distance) % ranks,
                        (rank - distance + ranks) % ranks, channels,
                        slot_bytes});
      }
      break;
    case Algorithm::kAuto:
    case Algorithm::kRing:
    case Algorithm::kPairs:
      break;
  }
  return hops;
}

}  // namespace

Extent ExtentOf(Operation operation, size_t bytes, size_t element_bytes,
                int ranks) {
  const size_t elements = bytes / element_bytes;
  const auto shares = static_cast<size_t>(ranks);
  Extent extent;
  switch (operation) {
    case Operation::kAllReduce:
    case Operation::kSendRecv:
      extent = {elements, elements, elements, elements * element_bytes};
      break;
    case Operation::kAllGather:
      extent.elements = elements / shares;
      extent.input_elements = extent.elements;
      extent.output_elements = extent.elements * shares;
      break;
    case Operation::kReduceScatter:
      extent.elements = elements / shares;
      extent.input_elements = extent.elements * shares;
      extent.output_elements = extent.elements;
      break;
    case Operation::kAllToAll:
      extent.elements = elements / shares;
      extent.input_elements = extent.output_elements = extent.elements * shares;
      break;
  }
  extent.bytes =
      std::max(extent.input_elements, extent.output_elements) * element_bytes;
  return extent;
}

double BusFactor(Operation operation, int ranks) {
  switch (operation) {
    case Operation::kAllReduce:
      return 2.0 * (ranks - 1) / ranks;
    case Operation::kAllGather:
    case Operation::kReduceScatter:
    case Operation::kAllToAll:
      return 1.0 * (ranks - 1) / ranks;
    case Operation::kSendRecv:
      return 1.0;
  }
  return 1.0;
}

Algorithm AlgorithmFor(const Options& options, size_t bytes) {
  switch (options.operation) {
    case Operation::kSendRecv:
    case Operation::kAllToAll:
      return Algorithm::kPairs;
    case Operation::kAllGather:
    case Operation::kReduceScatter:
      return Algorithm::kRing;
    case Operation::kAllReduce:
      break;
  }
  if (options.algorithm != Algorithm::kAuto) return options.algorithm;
  const auto choices = ChoicesOf(options.ranks);
  return std::find_if(
             choices.begin(), choices.end(),
             [bytes](const Choice& one) { return bytes <= one.bytes_max; })
      ->algorithm;
}

std::vector<Choice> ChoicesIn(const Options& options) {
  if (options.operation != Operation::kAllReduce ||
      options.algorithm != Algorithm::kAuto) {
    return {{AlgorithmFor(options, options.bytes_max), options.bytes_max}};
  }
  // The first size, in whole elements.
  const size_t least = ExtentOf(options.operation, options.bytes_min,
                                SizeOf(options.type), options.ranks)
                           .bytes;
  std::vector<Choice> choices;
  for (const Choice& choice : ChoicesOf(options.ranks)) {
    if (choice.bytes_max < least) continue;
    choices.push_back(
        {choice.algorithm, std::min(choice.bytes_max, options.bytes_max)});
    if (choice.bytes_max >= options.bytes_max) break;
  }
  return choices;
}

std::vector<Hop> HopsOf(const Options& options) {
  const int rank = options.rank;
  const int ranks = options.ranks;
  const int farthest =
      options.operation == Operation::kAllToAll ? ranks - 1 : 1;
  std::vector<Hop> hops;
  for (int distance = 1; distance <= farthest; ++distance) {
    hops.push_back({(rank + distance) % ranks,
                    (rank - distance + ranks) % ranks, options.channels,
                    options.slice_bytes});
  }
  for (const Choice& choice : ChoicesIn(options)) {
    const auto own = OwnHops(options, choice);
    hops.insert(hops.end(), own.begin(), own.end());
  }
  return hops;
}

size_t FirstHopOf(const Options& options, Algorithm algorithm) {
  if (algorithm == Algorithm::kRing || algorithm == Algorithm::kPairs) return 0;
  size_t first = 1;
  for (const Choice& choice : ChoicesIn(options)) {
    if (choice.algorithm == algorithm) break;
    first += OwnHops(options, choice).size();
  }
  return first;
}

std::vector<Program> MakePrograms(Operation operation, Algorithm algorithm,
                                  const Extent& extent,
                                  const Placement& placement) {
  const auto by_loop = [&](auto loop, size_t loop_bytes) {
    return ProgramsOf(extent.bytes, extent.bytes, loop_bytes, placement,
                      [&](Range range, std::vector<Step>* steps) {
                        loop(range, placement, steps);
                      });
  };
  switch (algorithm) {
    case Algorithm::kHalving:
      return by_loop(HalvingLoop, ShareBytesMax(placement) *
                                      static_cast<size_t>(placement.ranks));
    case Algorithm::kDoubling:
      return by_loop(DoublingLoop, ShareBytesMax(placement));
    case Algorithm::kStar:
      return by_loop(StarLoop, ShareBytesMax(placement));
    case Algorithm::kPairs:
      return PairPrograms(operation, extent, placement);
    case Algorithm::kAuto:
    case Algorithm::kRing:
      break;
  }
  return RingPrograms(operation, extent, placement);
}

}  // namespace hawser::bench
