#include "bench/driver.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "bench/fail.h"

namespace hawser::bench {
namespace {

using nccl::Result;

// The clock and the other ranks are looked at once in so many idle turns.
constexpr uint64_t kIdleTurns = 1024;
// A sum is copied on to its second place in pieces that are still in the
// first cache.
constexpr size_t kPieceBytes = 16 << 10;

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Driver::Driver(Links* links, NetLibrary* net, Bootstrap* bootstrap,
               AddFunction add, int timeout_s, bool in_place)
    : links_(links),
      net_(net),
      bootstrap_(bootstrap),
      add_(add),
      timeout_s_(timeout_s),
      in_place_(in_place) {}

Driver::Progress Driver::StartOf(const Program& program, int iterations) {
  Progress progress;
  progress.program = &program;
  for (const Step& step : program.steps) {
    if (step.receive) {
      RecvLink* link = links_->recv(step.recv_lane, program.channel);
      const auto found = std::find_if(
          progress.incoming.begin(), progress.incoming.end(),
          [link](const Incoming& incoming) { return incoming.link == link; });
      Incoming& incoming = found != progress.incoming.end()
                               ? *found
                               : progress.incoming.emplace_back(Incoming{
                                     link, {}, link->posted, link->posted});
      incoming.steps.push_back(&step);
      incoming.end += static_cast<uint64_t>(iterations);
    }
    if (step.send) {
      SendLink* link = links_->send(step.send_lane, program.channel);
      const bool known = std::any_of(
          progress.outgoing.begin(), progress.outgoing.end(),
          [link](const Outgoing& outgoing) { return outgoing.link == link; });
      if (!known) progress.outgoing.push_back({link, 0, 0});
    }
  }
  return progress;
}

void Driver::Run(const std::vector<Program>& programs, int iterations,
                 std::byte* input, std::byte* output, const std::string& what) {
  input_ = input;
  output_ = output;
  idle_turns_ = 0;
  running_.clear();
  for (const Program& program : programs) {
    running_.push_back(StartOf(program, iterations));
  }
  int iteration = 0;
  bool moved = true;
  for (bool finished = false; !finished;) {
    const bool was_idle = !moved;
    moved = false;
    bool stepped = true;  // All programs are at their end.
    bool sent = true;     // All sends are done.
    for (Progress& progress : running_) {
      moved |= TakeTurn(&progress, was_idle);
      stepped &= progress.next == progress.program->steps.size();
      for (const Outgoing& outgoing : progress.outgoing) {
        sent &= outgoing.link->done == outgoing.link->filled;
      }
    }
    if (stepped && iteration + 1 < iterations) {
      ++iteration;
      for (Progress& progress : running_) Begin(&progress);
      moved = true;
    } else {
      finished = stepped && sent;
    }
    if (moved) {
      idle_turns_ = 0;
    } else if (!finished) {
      OnIdle(what);
    }
  }
}

void Driver::Begin(Progress* progress) const {
  progress->next = 0;
  ++progress->iteration;
  for (Outgoing& outgoing : progress->outgoing) {
    outgoing.earlier = outgoing.from_output;
  }
}

// What an earlier iteration sends from the output may have to be sent again
// until it is done.
bool Driver::OutputIsFree(const Progress& progress) const {
  return !in_place_ ||
         std::all_of(progress.outgoing.begin(), progress.outgoing.end(),
                     [](const Outgoing& outgoing) {
                       return outgoing.link->done >= outgoing.earlier;
                     });
}

bool Driver::TakeTurn(Progress* progress, bool was_idle) {
  bool moved = false;
  for (const Incoming& incoming : progress->incoming) {
    moved |= PostReceives(*progress, incoming);
  }
  // Nobody waits for a send before its slot is needed again. But a plugin may
  // get on with it in test() alone, so where there is time it is asked after;
  // and before the receive, of which the test may bring news as well.
  const bool waits = !OutputIsFree(*progress);
  for (const Outgoing& outgoing : progress->outgoing) {
    if (was_idle || waits || outgoing.link->full()) {
      moved |= TestSends(outgoing.link);
    }
  }
  moved |= TakeStep(progress);
  for (const Outgoing& outgoing : progress->outgoing) {
    moved |= PostSends(outgoing.link);
  }
  return moved;
}

bool Driver::PostReceives(const Progress& progress, const Incoming& incoming) {
  RecvLink* link = incoming.link;
  bool moved = false;
  while (link->posted < incoming.end &&
         link->posted < link->consumed + kSlots) {
    // The whole slot is offered, whatever will come: the sender decides.
    Place place = link->slot_place(link->posted);
    size_t capacity = link->slot_bytes;
    const uint64_t index = link->posted - incoming.begin;
    const Step& step = *incoming.steps[index % incoming.steps.size()];
    if (in_place_ && step.received_in_place()) {
      if (index / incoming.steps.size() > progress.iteration) break;
      if (!OutputIsFree(progress)) break;
      place = {output_ + step.output, link->output_region};
      capacity = step.bytes;
    }
    void* request = nullptr;
    const Result result = net_->Irecv(link->comm, place.bytes, capacity,
                                      link->tag, place.region, &request);
    if (result != Result::kSuccess) {
      Fail("irecv from rank %d, channel %d: %s", link->peer, link->channel,
           ResultName(result));
    }
    if (request == nullptr) break;
    link->requests[link->posted % kSlots] = request;
    ++link->posted;
    moved = true;
  }
  return moved;
}

bool Driver::TestOldest(const Link& link, void* request, const char* what,
                        size_t expected_max, size_t* size) {
  int done = 0;
  int bytes = 0;
  const Result result = net_->Test(request, &done, &bytes);
  if (result != Result::kSuccess) {
    Fail("test of a %s rank %d, channel %d: %s", what, link.peer, link.channel,
         ResultName(result));
  }
  if (done == 0) return false;
  *size = static_cast<size_t>(bytes);
  if (bytes < 0 || *size > expected_max) {
    Fail("test of a %s rank %d, channel %d: done with %d bytes, not %zu", what,
         link.peer, link.channel, bytes, expected_max);
  }
  return true;
}

// Asked for the oldest only, and only when the next step is to take it.
bool Driver::HasArrived(RecvLink* link) {
  if (link->arrived > link->consumed) return true;
  if (link->arrived == link->posted) return false;
  const size_t slot = link->arrived % kSlots;
  if (!TestOldest(*link, link->requests[slot], "receive from", link->slot_bytes,
                  &link->sizes[slot])) {
    return false;
  }
  ++link->arrived;
  return true;
}

bool Driver::TakeStep(Progress* progress) {
  const Program& program = *progress->program;
  if (progress->next == program.steps.size()) return false;
  const Step& step = program.steps[progress->next];
  RecvLink* recv =
      step.receive ? links_->recv(step.recv_lane, program.channel) : nullptr;
  SendLink* send =
      step.send ? links_->send(step.send_lane, program.channel) : nullptr;
  if (recv != nullptr && !HasArrived(recv)) return false;
  if (send != nullptr && send->full()) return false;
  if (step.write && !OutputIsFree(*progress)) return false;
  if (recv != nullptr && recv->sizes[recv->consumed % kSlots] != step.bytes) {
    Fail("a message of %zu bytes from rank %d, channel %d, where %zu belong",
         recv->sizes[recv->consumed % kSlots], recv->peer, recv->channel,
         step.bytes);
  }
  // What was received in place lies where it belongs, and leaves from there.
  if (!in_place_ || !step.received_in_place()) {
    const bool fills = send != nullptr && !(in_place_ && step.in_place);
    Execute(step, recv != nullptr ? recv->slot(recv->consumed) : nullptr,
            fills ? send->slot(send->filled) : nullptr);
  }
  if (recv != nullptr) ++recv->consumed;
  if (send != nullptr) {
    send->sources[send->filled % kSlots] = SourceOf(step, *send);
    send->sizes[send->filled % kSlots] = step.bytes;
    ++send->filled;
    if (in_place_ && step.sent_in_place() && step.write) {
      for (Outgoing& outgoing : progress->outgoing) {
        if (outgoing.link == send) outgoing.from_output = send->filled;
      }
    }
  }
  ++progress->next;
  return true;
}

void Driver::Execute(const Step& step, const std::byte* incoming,
                     std::byte* outgoing) const {
  std::byte* first = step.write ? output_ + step.output : outgoing;
  if (first == nullptr) return;  // Sent from where it lies.
  std::byte* second = step.write ? outgoing : nullptr;
  const std::byte* source =
      incoming == nullptr ? input_ + step.input : incoming;
  const std::byte* own =
      step.accumulate ? output_ + step.output : input_ + step.input;
  for (size_t at = 0; at < step.bytes; at += kPieceBytes) {
    const size_t bytes = std::min(kPieceBytes, step.bytes - at);
    if (step.reduce) {
      add_(first + at, source + at, own + at, bytes);
    } else {
      std::memcpy(first + at, source + at, bytes);
    }
    if (second != nullptr) std::memcpy(second + at, first + at, bytes);
  }
}

Place Driver::SourceOf(const Step& step, const SendLink& link) const {
  if (!in_place_ || !step.sent_in_place()) return link.slot_place(link.filled);
  if (step.write) return {output_ + step.output, link.output_region};
  return {input_ + step.input, link.input_region};
}

bool Driver::PostSends(SendLink* link) {
  bool moved = false;
  while (link->posted < link->filled) {
    const size_t slot = link->posted % kSlots;
    void* request = nullptr;
    const Place& source = link->sources[slot];
    const Result result =
        net_->Isend(link->comm, source.bytes, link->sizes[slot], link->tag,
                    source.region, &request);
    if (result != Result::kSuccess) {
      Fail("isend of %zu bytes to rank %d, channel %d: %s", link->sizes[slot],
           link->peer, link->channel, ResultName(result));
    }
    if (request == nullptr) break;
    link->requests[slot] = request;
    ++link->posted;
    moved = true;
  }
  return moved;
}

bool Driver::TestSends(SendLink* link) {
  bool moved = false;
  while (link->done < link->posted) {
    const size_t slot = link->done % kSlots;
    size_t size = 0;
    if (!TestOldest(*link, link->requests[slot], "send to", link->sizes[slot],
                    &size)) {
      break;
    }
    ++link->done;
    moved = true;
  }
  return moved;
}

void Driver::OnIdle(const std::string& what) {
  sched_yield();
  if (idle_turns_++ == 0) idle_since_ns_ = NowNs();
  if (idle_turns_ % kIdleTurns != 0) return;
  bootstrap_->CheckAllHere();
  if (NowNs() - idle_since_ns_ > int64_t{timeout_s_} * 1000 * 1000 * 1000) {
    FailStuck(what);
  }
}

void Driver::FailStuck(const std::string& what) const {
  uint64_t sends = 0;
  uint64_t receives = 0;
  for (const Progress& progress : running_) {
    for (const Outgoing& outgoing : progress.outgoing) {
      sends += outgoing.link->filled - outgoing.link->done;
    }
    for (const Incoming& incoming : progress.incoming) {
      receives += incoming.link->posted - incoming.link->arrived;
    }
  }
  Fail("%s: nothing moved for %d s; %llu sends and %llu receives are open",
       what.c_str(), timeout_s_, static_cast<unsigned long long>(sends),
       static_cast<unsigned long long>(receives));
}

}  // namespace hawser::bench
