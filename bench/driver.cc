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
               AddFunction add, int timeout_s)
    : links_(links),
      net_(net),
      bootstrap_(bootstrap),
      add_(add),
      timeout_s_(timeout_s) {}

void Driver::Begin(const std::vector<Program>& programs, int iterations) {
  running_.clear();
  for (const Program& program : programs) {
    Progress progress;
    progress.program = &program;
    if (program.send_distance != kNoLink) {
      progress.send = links_->send(program.send_distance, program.channel);
    }
    if (program.recv_distance != kNoLink) {
      progress.recv = links_->recv(program.recv_distance, program.channel);
      const auto receives =
          std::count_if(program.steps.begin(), program.steps.end(),
                        [](const Step& step) { return step.receive; });
      progress.receives =
          progress.recv->posted +
          static_cast<uint64_t>(receives) * static_cast<uint64_t>(iterations);
    }
    running_.push_back(progress);
  }
  idle_turns_ = 0;
}

void Driver::Run(const std::vector<Program>& programs, int iterations,
                 const std::byte* input, std::byte* output,
                 const std::string& what) {
  input_ = input;
  output_ = output;
  Begin(programs, iterations);
  int iteration = 0;
  for (bool finished = false; !finished;) {
    bool moved = false;
    bool stepped = true;  // All programs are at their end.
    bool sent = true;     // All sends are done.
    for (Progress& progress : running_) {
      if (progress.recv != nullptr) {
        moved |= PostReceives(&progress);
        moved |= TestReceives(progress.recv);
      }
      moved |= TakeStep(&progress);
      stepped &= progress.next == progress.program->steps.size();
      if (progress.send != nullptr) {
        moved |= PostSends(progress.send);
        moved |= TestSends(progress.send);
        sent &= progress.send->done == progress.send->filled;
      }
    }
    if (stepped && iteration + 1 < iterations) {
      ++iteration;
      for (Progress& progress : running_) progress.next = 0;
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

bool Driver::PostReceives(Progress* progress) {
  RecvLink* link = progress->recv;
  bool moved = false;
  while (link->posted < progress->receives &&
         link->posted < link->consumed + kSlots) {
    // The whole slot is offered, whatever will come: the sender decides.
    void* request = nullptr;
    const Result result =
        net_->Irecv(link->comm, link->slot(link->posted), link->slice_bytes,
                    link->tag, link->region, &request);
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

bool Driver::TestReceives(RecvLink* link) {
  bool moved = false;
  while (link->arrived < link->posted) {
    const size_t slot = link->arrived % kSlots;
    if (!TestOldest(*link, link->requests[slot], "receive from",
                    link->slice_bytes, &link->sizes[slot])) {
      break;
    }
    ++link->arrived;
    moved = true;
  }
  return moved;
}

bool Driver::TakeStep(Progress* progress) {
  if (progress->next == progress->program->steps.size()) return false;
  const Step& step = progress->program->steps[progress->next];
  SendLink* send = progress->send;
  RecvLink* recv = progress->recv;
  if (step.receive && recv->arrived == recv->consumed) return false;
  if (step.send && send->filled == send->done + kSlots) return false;
  if (step.receive && recv->sizes[recv->consumed % kSlots] != step.bytes) {
    Fail("a message of %zu bytes from rank %d, channel %d, where %zu belong",
         recv->sizes[recv->consumed % kSlots], recv->peer, recv->channel,
         step.bytes);
  }
  Execute(step, step.receive ? recv->slot(recv->consumed) : nullptr,
          step.send ? send->slot(send->filled) : nullptr);
  if (step.receive) ++recv->consumed;
  if (step.send) {
    send->sizes[send->filled % kSlots] = step.bytes;
    ++send->filled;
  }
  ++progress->next;
  return true;
}

void Driver::Execute(const Step& step, const std::byte* incoming,
                     std::byte* outgoing) const {
  std::byte* first = step.write ? output_ + step.output : outgoing;
  std::byte* second = step.write ? outgoing : nullptr;
  const std::byte* source =
      incoming == nullptr ? input_ + step.input : incoming;
  for (size_t at = 0; at < step.bytes; at += kPieceBytes) {
    const size_t bytes = std::min(kPieceBytes, step.bytes - at);
    if (step.reduce) {
      add_(first + at, source + at, input_ + step.input + at, bytes);
    } else {
      std::memcpy(first + at, source + at, bytes);
    }
    if (second != nullptr) std::memcpy(second + at, first + at, bytes);
  }
}

bool Driver::PostSends(SendLink* link) {
  bool moved = false;
  while (link->posted < link->filled) {
    const size_t slot = link->posted % kSlots;
    void* request = nullptr;
    const Result result =
        net_->Isend(link->comm, link->slot(link->posted), link->sizes[slot],
                    link->tag, link->region, &request);
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
    if (progress.send != nullptr) {
      sends += progress.send->filled - progress.send->done;
    }
    if (progress.recv != nullptr) {
      receives += progress.recv->posted - progress.recv->arrived;
    }
  }
  Fail("%s: nothing moved for %d s; %llu sends and %llu receives are open",
       what.c_str(), timeout_s_, static_cast<unsigned long long>(sends),
       static_cast<unsigned long long>(receives));
}

}  // namespace hawser::bench
