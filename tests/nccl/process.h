// Another process for a test: this program again, running one test that is
// disabled otherwise, with a socket in between.
// Knows: processes.  Never: what they say to each other.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/nccl/rank.h"

namespace hawser {

inline constexpr int kHelperSocket = 3;

class Process {
 public:
  // `test`: "Helper.DISABLED_Echo".
  explicit Process(const std::string& test, const Variables& variables = {}) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    socket_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], kHelperSocket);
    const std::string filter = "--gtest_filter=" + test;
    std::vector<char*> arguments = {
        const_cast<char*>("/proc/self/exe"), const_cast<char*>(filter.c_str()),
        const_cast<char*>("--gtest_also_run_disabled_tests"),
        const_cast<char*>("--gtest_brief=1"), nullptr};
    const Environment environment(variables);
    EXPECT_EQ(posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr,
                          arguments.data(), environ),
              0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
  }
  ~Process() {
    close(socket_);
    if (pid_ > 0 && !Until([&] { return Over(); }, 10'000)) {
      ADD_FAILURE() << "process " << pid_ << " does not end";
      Kill();
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  int socket() const { return socket_; }
  void Kill() {
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), &status_, 0);
  }
  // Its exit code, or minus the signal; -1000 if it goes on.
  int Wait(double limit_ms = 60'000) {
    if (!Until([&] { return Over(); }, limit_ms)) return -1000;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
  }

 private:
  bool Over() {
    if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
    return pid_ == 0;
  }
  pid_t pid_ = 0;
  int socket_ = -1;
  int status_ = 0;
};

template <class T>
bool Tell(int socket, const T& value) {
  return send(socket, &value, sizeof value, MSG_NOSIGNAL) == sizeof value;
}
template <class T>
bool Hear(int socket, T* value) {
  return recv(socket, value, sizeof *value, MSG_WAITALL) == sizeof *value;
}

// A link each way with whoever is at the other end of `socket`; the other
// process calls the same.
struct Pair {
  Link out, in;
  void Close(Rank& rank) {
    EXPECT_EQ(rank.api.close_send(out.send), Result::kSuccess);
    EXPECT_EQ(rank.api.close_receive(in.receive), Result::kSuccess);
  }
};
inline Pair ConnectBothWays(Rank& rank, int socket) {
  Pair pair = {{&rank.api, nullptr}, {nullptr, &rank.api}};
  Handle mine, theirs;
  void* listen = nullptr;
  EXPECT_EQ(rank.api.listen(rank.context, 0, mine.data(), &listen),
            Result::kSuccess);
  EXPECT_TRUE(Tell(socket, mine));
  EXPECT_TRUE(Hear(socket, &theirs));
  EXPECT_TRUE(Until([&] {
    if (pair.out.send == nullptr) {
      EXPECT_EQ(
          rank.api.connect(rank.context, 0, theirs.data(), &pair.out.send),
          Result::kSuccess);
    }
    if (pair.in.receive == nullptr) {
      EXPECT_EQ(rank.api.accept(listen, &pair.in.receive), Result::kSuccess);
    }
    return pair.out.send != nullptr && pair.in.receive != nullptr;
  }));
  EXPECT_EQ(rank.api.close_listen(listen), Result::kSuccess);
  return pair;
}

}  // namespace hawser
