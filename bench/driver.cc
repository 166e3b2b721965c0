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

Driver::Driver(Comms* comms, NetLibrary* net, Bootstrap* bootstrap,
               AddFunction add, int timeout_s, bool in_place)
    : comms_(comms),
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
      RecvComm* comm = comms_->recv(step.recv_hop, program.channel);
      const auto found = std::find_if(
          progress.incoming.begin(), progress.incoming.end(),
          [comm](const Incoming& incoming) { return incoming.comm == comm; });
      Incoming& incoming = found != progress.incoming.end()
                               ? *found
                               : progress.incoming.emplace_back(Incoming{
                                     comm, {}, comm->posted, comm->posted});
      incoming.steps.push_back(&step);
      incoming.end += static_cast<uint64_t>(iterations);
    }
    if (step.send) {
      SendComm* comm = comms_->send(step.send_hop, program.channel);
      const bool known = std::any_of(
          progress.outgoing.begin(), progress.outgoing.end(),
          [comm](const Outgoing& outgoing) { return outgoing.comm == comm; });
      if (!known) progress.outgoing.push_back({comm, 0, 0});
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
        sent &= outgoing.comm->done == outgoing.comm->filled;
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
                       return outgoing.comm->done >= outgoing.earlier;
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
    if (was_idle || waits || outgoing.comm->full()) {
      moved |= TestSends(outgoing.comm);
    }
  }
  moved |= TakeStep(progress);
  for (const Outgoing& outgoing : progress->outgoing) {
    moved |= PostSends(outgoing.comm);
  }
  return moved;
}

bool Driver::PostReceives(const Progress& progress, const Incoming& incoming) {
  RecvComm* comm = incoming.comm;
  bool moved = false;
  while (comm->posted < incoming.end &&
         comm->posted < comm->consumed + kSlots) {
    // The whole slot is offered, whatever will come: the sender decides.
    Place place = comm->slot_place(comm->posted);
    size_t capacity = comm->slot_bytes;
    const uint64_t index = comm->posted - incoming.begin;
    const Step& step = *incoming.steps[index % incoming.steps.size()];
    if (in_place_ && step.received_in_place()) {
      if (index / incoming.steps.size() > progress.iteration) break;
      if (!OutputIsFree(progress)) break;
      place = {output_ + step.output, comm->output_region};
      capacity = step.bytes;
    }
    void* request = nullptr;
    const Result result = net_->Irecv(comm->plugin_comm, place.bytes, capacity,
                                      comm->tag, place.region,
                                      /*marked=*/false, &request);
    if (result != Result::kSuccess) {
      Fail("irecv from rank %d, channel %d: %s", comm->peer, comm->channel,
           ResultName(result));
    }
    if (request == nullptr) break;
    comm->requests[comm->posted % kSlots] = request;
    ++comm->posted;
    moved = true;
  }
  return moved;
}

bool Driver::TestOldest(const Comm& comm, void* request, const char* what,
                        size_t expected_max, size_t* size) {
  int done = 0;
  int bytes = 0;
  const Result result = net_->Test(request, &done, &bytes);
  if (result != Result::kSuccess) {
    Fail("test of a %s rank %d, channel %d: %s", what, comm.peer, comm.channel,
         ResultName(result));
  }
  if (done == 0) return false;
  *size = static_cast<size_t>(bytes);
  if (bytes < 0 || *size > expected_max) {
    Fail("test of a %s rank %d, channel %d: done with %d bytes, not %zu", what,
         comm.peer, comm.channel, bytes, expected_max);
  }
  return true;
}

// Asked for the oldest only, and only when the next step is to take it.
bool Driver::HasArrived(RecvComm* comm) {
  if (comm->arrived > comm->consumed) return true;
  if (comm->arrived == comm->posted) return false;
  const size_t slot = comm->arrived % kSlots;
  if (!TestOldest(*comm, comm->requests[slot], "receive from", comm->slot_bytes,
                  &comm->sizes[slot])) {
    return false;
  }
  ++comm->arrived;
  return true;
}

bool Driver::TakeStep(Progress* progress) {
  const Program& program = *progress->program;
  if (progress->next == program.steps.size()) return false;
  const Step& step = program.steps[progress->next];
  RecvComm* recv =
      step.receive ? comms_->recv(step.recv_hop, program.channel) : nullptr;
  SendComm* send =
      step.send ? comms_->send(step.send_hop, program.channel) : nullptr;
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
    if (in_place_ && step.sent_in_place() && step.sends_output()) {
      for (Outgoing& outgoing : progress->outgoing) {
        if (outgoing.comm == send) outgoing.from_output = send->filled;
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
  const std::byte* source = step.relay            ? output_ + step.output
                            : incoming == nullptr ? input_ + step.input
                                                  : incoming;
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

Place Driver::SourceOf(const Step& step, const SendComm& comm) const {
  if (!in_place_ || !step.sent_in_place()) return comm.slot_place(comm.filled);
  if (step.sends_output()) {
    return {output_ + step.output, comm.output_region};
  }
  return {input_ + step.input, comm.input_region};
}

bool Driver::PostSends(SendComm* comm) {
  bool moved = false;
  while (comm->posted < comm->filled) {
    const size_t slot = comm->posted % kSlots;
    void* request = nullptr;
    const Place& source = comm->sources[slot];
    const Result result =
        net_->Isend(comm->plugin_comm, source.bytes, comm->sizes[slot],
                    comm->tag, source.region, &request);
    if (result != Result::kSuccess) {
      Fail("isend of %zu bytes to rank %d, channel %d: %s", comm->sizes[slot],
           comm->peer, comm->channel, ResultName(result));
    }
    if (request == nullptr) break;
    comm->requests[slot] = request;
    ++comm->posted;
    moved = true;
  }
  return moved;
}

bool Driver::TestSends(SendComm* comm) {
  bool moved = false;
  while (comm->done < comm->posted) {
    const size_t slot = comm->done % kSlots;
    size_t size = 0;
    if (!TestOldest(*comm, comm->requests[slot], "send to", comm->sizes[slot],
                    &size)) {
      break;
    }
    ++comm->done;
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
      sends += outgoing.comm->filled - outgoing.comm->done;
    }
    for (const Incoming& incoming : progress.incoming) {
      receives += incoming.comm->posted - incoming.comm->arrived;
    }
  }
  Fail("%s: nothing moved for %d s; %llu sends and %llu receives are open",
       what.c_str(), timeout_s_, static_cast<unsigned long long>(sends),
       static_cast<unsigned long long>(receives));
}

}  // namespace hawser::bench
