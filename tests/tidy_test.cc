// The house rules, as code: which room may include which, which words belong
// to which room, how a header opens, how a line looks. Rules that are not run
// are wishes. The model is TigerBeetle's src/tidy.zig.
//
// A rule is a row in a table below; docs/architecture.md says why it is there.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

using ::testing::HasSubstr;

struct File {
  std::string path;  // From the top of the tree: "transport/wire/header.h".
  std::string text;
};

struct Finding {
  std::string path;
  size_t line;
  std::string what;
};

std::string ToString(const std::vector<Finding>& findings) {
  std::ostringstream out;
  for (const Finding& f : findings) {
    out << f.path << ":" << f.line << ": " << f.what << "\n";
  }
  return out.str();
}

bool StartsWith(const std::string& text, std::string_view prefix) {
  return std::string_view(text).starts_with(prefix);
}

bool StartsWithAny(const std::string& text,
                   const std::vector<std::string>& prefixes) {
  return std::any_of(
      prefixes.begin(), prefixes.end(),
      [&](const std::string& prefix) { return StartsWith(text, prefix); });
}

bool IsHeader(const File& file) { return file.path.ends_with(".h"); }
bool IsCode(const File& file) {
  return IsHeader(file) || file.path.ends_with(".cc");
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The program without its comments and literals: each becomes spaces, and line
// breaks stay where they are. Include lines keep their names.
std::string CodeOnly(const std::string& text) {
  std::string out = text;
  const auto blank = [&](size_t from, size_t to) {
    for (size_t i = from; i < std::min(to, out.size()); ++i) {
      if (out[i] != '\n') out[i] = ' ';
    }
  };
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  size_t i = 0;
  bool include = false;
  while (i < text.size()) {
    const char c = text[i];
    const std::string_view rest = std::string_view(text).substr(i);
    size_t end = i + 1;
    if (c == '\n') {
      include = false;
    } else if (rest.starts_with("#include")) {
      include = true;
    } else if (rest.starts_with("//")) {
      end = std::min(text.find('\n', i), text.size());
      blank(i, end);
    } else if (rest.starts_with("/*")) {
      const size_t close = text.find("*/", i + 2);
      end = close == std::string::npos ? text.size() : close + 2;
      blank(i, end);
    } else if (rest.starts_with("R\"")) {
      const size_t open = text.find('(', i);
      if (open == std::string::npos) break;
      const std::string close = ")" + text.substr(i + 2, open - i - 2) + "\"";
      const size_t at = text.find(close, open);
      end = at == std::string::npos ? text.size() : at + close.size();
      blank(i, end);
    } else if ((c == '"' && !include) ||
               // Not the separator in 1'000.
               (c == '\'' && (i == 0 || !is_word(text[i - 1])))) {
      while (end < text.size() && text[end] != c && text[end] != '\n') {
        end += text[end] == '\\' ? 2 : 1;
      }
      ++end;
      blank(i, end);
    }
    i = end;
  }
  return out;
}

// ---------------------------------------------------------------------------
// Who may include whom.

struct Arrows {
  std::string from;             // Files whose path begins so.
  std::vector<std::string> to;  // What they may include of ours, and of abseil.
};

const std::vector<Arrows>& AllArrows() {
  static const auto* arrows = new std::vector<Arrows>{
      // base stands alone: words.
      {"transport/base/", {"transport/base/"}},
      {"transport/wire/", {"transport/base/", "transport/wire/"}},
      // message and path do not know each other: that gap is the design.
      {"transport/message/",
       {"transport/base/", "transport/wire/", "transport/message/"}},
      {"transport/congestion/", {"transport/base/", "transport/congestion/"}},
      {"transport/path/",
       {"transport/base/", "transport/wire/", "transport/congestion/",
        "transport/path/"}},
      {"transport/spray/",
       {"transport/base/", "transport/path/", "transport/spray/"}},
      // Frames are bytes: no device, no socket.
      {"transport/net/", {"transport/base/", "transport/net/"}},
      {"transport/datapath/",
       {"transport/base/", "transport/net/", "transport/datapath/",
        "absl/status/", "absl/strings/"}},
      {"transport/engine/",
       {"transport/base/", "transport/wire/", "transport/message/",
        "transport/congestion/", "transport/path/", "transport/spray/",
        "transport/datapath/", "transport/engine/", "absl/"}},
      // Hosts by the thousand are made of the rooms that a path is made of.
      {"transport/sim/fabric/",
       {"transport/base/", "transport/wire/", "transport/congestion/",
        "transport/path/", "transport/spray/", "transport/sim/fabric/",
        "absl/status/", "absl/strings/"}},
      {"transport/sim/",
       {"transport/base/", "transport/datapath/", "transport/engine/",
        "transport/sim/", "absl/"}},
      // The plugin knows the endpoint and how to make one, and nothing below.
      {"nccl-plugin/",
       {"nccl-plugin/", "transport/base/", "transport/engine/endpoint.h",
        "transport/engine/find_devices.h", "transport/engine/rendezvous.h",
        "transport/engine/config.h", "absl/"}},
      // What times our functions may look into any room; what measures a plugin
      // speaks to it by NCCL's ABI alone.
      {"bench/memory_bench",
       {"bench/", "transport/datapath/", "transport/engine/", "absl/"}},
      {"bench/dpdk_bench", {"transport/"}},
      {"bench/micro_bench",
       {"transport/base/", "transport/wire/", "transport/message/",
        "transport/congestion/", "transport/path/", "transport/spray/",
        "transport/datapath/", "transport/engine/"}},
      {"bench/", {"bench/", "nccl-plugin/net_abi.h"}},
      {"tools/hawser_sim", {"tools/", "transport/", "absl/"}},
      {"tools/",
       {"tools/", "transport/base/", "transport/datapath/interfaces.h",
        "transport/engine/", "absl/"}},
      {"tests/", {""}},
  };
  return *arrows;
}

// Does `name` fall under these rules at all, or is it the system's?
bool IsOurs(const std::string& name) {
  return StartsWithAny(name, {"transport/", "nccl-plugin/", "bench/", "tools/",
                              "tests/", "absl/"});
}

std::string IncludeIn(const std::string& code_line) {
  static const std::regex re(R"re(^\s*#\s*include\s*["<]([^">]+)[">])re");
  std::smatch match;
  return std::regex_search(code_line, match, re) ? match[1].str() : "";
}

void CheckIncludes(const File& file, const std::vector<std::string>& code,
                   std::vector<Finding>* findings) {
  const auto& arrows = AllArrows();
  const auto room = std::find_if(
      arrows.begin(), arrows.end(),
      [&](const Arrows& a) { return StartsWith(file.path, a.from); });
  if (room == arrows.end()) {
    findings->push_back({file.path, 1, "this folder is no room of the house"});
    return;
  }
  for (size_t i = 0; i < code.size(); ++i) {
    const std::string name = IncludeIn(code[i]);
    if (name.empty()) continue;
    if (StartsWith(name, ".") ||
        (!IsOurs(name) && code[i].find('"') != std::string::npos &&
         !StartsWithAny(name,
                        {"gtest/", "gmock/", "nlohmann/", "benchmark/"}))) {
      findings->push_back(
          {file.path, i + 1,
           "include \"" + name + "\" from the top: room/file.h"});
    } else if (IsOurs(name) && !StartsWithAny(name, room->to)) {
      findings->push_back(
          {file.path, i + 1, room->from + " may not include " + name});
    }
  }
}

// What an application includes of the engine's room brings in no more than
// words: whoever holds an endpoint is not rebuilt when a path changes.

const std::vector<std::string>& AllDoors() {
  static const auto* doors = new std::vector<std::string>{
      "transport/engine/endpoint.h", "transport/engine/rendezvous.h",
      "transport/engine/config.h",   "transport/engine/metrics.h",
      "transport/engine/log.h",      "transport/engine/report.h"};
  return *doors;
}

void CheckDoors(const std::vector<File>& files,
                std::vector<Finding>* findings) {
  std::vector<std::string> words = {
      "transport/base/", "transport/wire/", "transport/message/request.h",
      "transport/path/path_state.h", "transport/datapath/interfaces.h"};
  words.insert(words.end(), AllDoors().begin(), AllDoors().end());
  std::vector<std::string> reached = AllDoors();
  for (size_t next = 0; next < reached.size(); ++next) {
    const auto file =
        std::find_if(files.begin(), files.end(),
                     [&](const File& f) { return f.path == reached[next]; });
    if (file == files.end()) continue;
    const std::vector<std::string> code = Lines(CodeOnly(file->text));
    for (size_t i = 0; i < code.size(); ++i) {
      const std::string name = IncludeIn(code[i]);
      if (!StartsWith(name, "transport/") ||
          std::find(reached.begin(), reached.end(), name) != reached.end()) {
        continue;
      }
      reached.push_back(name);
      if (!StartsWithAny(name, words)) {
        findings->push_back(
            {file->path, i + 1, "an application so includes " + name});
      }
    }
  }
}

// ---------------------------------------------------------------------------
// Which words belong to which room.

struct WordRule {
  std::string what;
  std::regex pattern;                // Looked for in a line of code.
  std::vector<std::string> where;    // In files whose path begins so,
  std::vector<std::string> but_not;  // except in these.
};

const std::vector<WordRule>& AllWordRules() {
  const std::vector<std::string> core = {
      "transport/wire/", "transport/message/", "transport/spray/",
      "transport/path/", "transport/congestion/"};
  std::vector<std::string> core_and_datapath = core;
  core_and_datapath.push_back("transport/datapath/");
  static const auto* rules = new std::vector<WordRule>{
      {"time is an argument: only engine/clock.cc reads a clock",
       std::regex(
           R"(<chrono>|<ctime>|<time\.h>|<sys/time\.h>|absl/time/clock\.h)"
           R"(|\bclock_gettime\b|\bgettimeofday\b|_clock\b::|\brdtscp?\b)"
           R"(|\bstd::time\b)"),
       {"transport/", "nccl-plugin/"},
       // The kernel stamps arrivals by the wall clock: how long a packet waited
       // for us can only be told by the same.
       {"transport/engine/clock.cc", "transport/datapath/udp_receive.cc"}},
      {"only the engine has threads",
       std::regex(R"(<thread>|\bpthread_create\b|\bstd::j?thread\b|<future>)"),
       {"transport/", "nccl-plugin/"},
       {"transport/engine/"}},
      {"only the engine has locks, and the plugin one",
       std::regex(
           R"(<mutex>|<shared_mutex>|<condition_variable>|\bpthread_mutex)"
           R"(|absl/synchronization)"),
       {"transport/"},
       {"transport/engine/"}},
      {"threads meet in spsc_ring, inbox, request, steering and the engine "
       "alone",
       std::regex(R"(<atomic>|\bstd::atomic\b)"),
       {"transport/"},
       {"transport/base/spsc_ring.h", "transport/base/inbox.h",
        "transport/message/request.h", "transport/engine/",
        "transport/datapath/dpdk/steering."}},
      {"sockets belong to datapath/udp, datapath/interfaces and the handshake",
       std::regex(
           R"(<(sys/socket|netinet/[a-z_0-9]+|arpa/inet|netdb|ifaddrs|net/if)"
           R"(|linux/(udp|if|sockios|errqueue|net_tstamp))\.h>)"),
       {"transport/", "nccl-plugin/", "tests/wire/", "tests/message/",
        "tests/path/", "tests/spray/", "tests/congestion/"},
       {"transport/datapath/udp", "transport/datapath/interfaces",
        "transport/datapath/dpdk/eal.cc", "transport/datapath/dpdk/port.cc",
        "transport/net/address.cc", "transport/engine/handshake_stream",
        "transport/engine/reception", "transport/engine/rendezvous"}},
      {"verbs belong to datapath/verbs",
       std::regex(R"(<infiniband/|<rdma/)"),
       {""},
       {"transport/datapath/verbs", "tests/verbs/"}},
      {"DPDK belongs to datapath/dpdk",
       std::regex(R"(<rte_)"),
       {""},
       {"transport/datapath/dpdk", "bench/dpdk_bench"}},
      {"no callbacks in the core: what is learnt goes into a list",
       std::regex(R"(\bstd::(move_only_)?function\b|<functional>)"),
       core_and_datapath,
       {}},
      {"no strings in the core",
       std::regex(R"(\bstd::string\b|<string>)"),
       core,
       {"transport/wire/handshake."}},
      {"slots are allocated when they are made, by vectors and pools",
       std::regex(R"(\bnew\b|\b(m|c|re)alloc\b)"),
       core,
       {}},
      {"an error is a value",
       std::regex(R"(\bthrow\b)"),
       {"transport/", "nccl-plugin/"},
       {}},
      {"an interface is what people will want to replace, and there are three",
       std::regex(R"(\bvirtual\b)"),
       {"transport/", "nccl-plugin/", "bench/", "tools/"},
       {"transport/datapath/datapath.h", "transport/spray/path_scheduler.h",
        "transport/congestion/congestion_control.h"}},
      {"name what you use", std::regex(R"(\busing\s+namespace\b)"), {""}, {}},
      {"test a class through its header",
       std::regex(R"(#\s*define\s+(private|protected)\b)"),
       {""},
       {}},
      {"a test waits for a condition, or lets virtual time pass",
       std::regex(R"(\bsleep_(for|until)\b|\bu?sleep\s*\(|\bnanosleep\s*\()"
                  R"(|\bSleepFor\b)"),
       {"tests/"},
       {}},
  };
  return *rules;
}

void CheckWords(const File& file, const std::vector<std::string>& code,
                std::vector<Finding>* findings) {
  for (const WordRule& rule : AllWordRules()) {
    if (!StartsWithAny(file.path, rule.where) ||
        StartsWithAny(file.path, rule.but_not)) {
      continue;
    }
    for (size_t i = 0; i < code.size(); ++i) {
      std::smatch match;
      if (std::regex_search(code[i], match, rule.pattern)) {
        findings->push_back({file.path, i + 1, match.str() + ": " + rule.what});
      }
    }
  }
}

// ---------------------------------------------------------------------------
// How a header opens: what it does in a sentence, what it knows and never may
// know, `#pragma once`.

void CheckOpening(const File& file, const std::vector<std::string>& lines,
                  std::vector<Finding>* findings) {
  if (lines.empty() || !StartsWith(lines[0], "// ")) {
    findings->push_back(
        {file.path, 1, "a header opens with a sentence: what it is for"});
    return;
  }
  size_t end = 0;
  std::string opening;
  for (; end < lines.size() && StartsWith(lines[end], "//"); ++end) {
    opening += lines[end].substr(2);
  }
  if (end == lines.size() || lines[end] != "#pragma once") {
    findings->push_back(
        {file.path, end + 1, "#pragma once follows the opening comment"});
  }
  if (!StartsWithAny(file.path, {"transport/", "nccl-plugin/"})) return;
  const size_t knows = opening.find(" Knows: ");
  if (knows == std::string::npos ||
      opening.find(" Never: ", knows) == std::string::npos) {
    findings->push_back(
        {file.path, 2, "the opening comment says \"Knows: ...  Never: ...\""});
  }
}

// ---------------------------------------------------------------------------
// How a line looks.

// In characters, which in UTF-8 are the bytes that continue no other.
size_t Columns(const std::string& line) {
  return static_cast<size_t>(std::count_if(
      line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

void CheckLines(const File& file, const std::vector<std::string>& lines,
                std::vector<Finding>* findings) {
  // Said in halves, so that this file passes.
  static const std::regex unfinished(
      "\\b(TO"
      "DO|FIX"
      "ME|XX"
      "X)\\b");
  for (size_t i = 0; i < lines.size(); ++i) {
    std::smatch match;
    if (std::regex_search(lines[i], match, unfinished)) {
      findings->push_back(
          {file.path, i + 1, match.str() + ": do it, or open an issue"});
    }
    if (!IsCode(file)) continue;
    if (Columns(lines[i]) > 80) {
      findings->push_back({file.path, i + 1, "longer than 80 columns"});
    }
    if (lines[i].find('\t') != std::string::npos) {
      findings->push_back({file.path, i + 1, "a tab"});
    }
    if (!lines[i].empty() &&
        std::isspace(static_cast<unsigned char>(lines[i].back()))) {
      findings->push_back({file.path, i + 1, "blanks at the end of the line"});
    }
  }
}

std::vector<Finding> Check(const File& file) {
  std::vector<Finding> findings;
  const std::vector<std::string> lines = Lines(file.text);
  CheckLines(file, lines, &findings);
  if (!IsCode(file)) return findings;
  const std::vector<std::string> code = Lines(CodeOnly(file.text));
  CheckIncludes(file, code, &findings);
  CheckWords(file, code, &findings);
  if (IsHeader(file)) CheckOpening(file, lines, &findings);
  return findings;
}

// The sources, scripts and documents under the tree's folders; a build folder
// or an editor's is none of ours.
std::vector<File> ReadTree(const std::filesystem::path& top) {
  namespace fs = std::filesystem;
  std::vector<File> files;
  const auto add = [&](const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    files.push_back({path.lexically_relative(top).generic_string(),
                     std::string(std::istreambuf_iterator<char>(in), {})});
  };
  for (const char* folder : {"transport", "nccl-plugin", "bench", "tools",
                             "tests", "docs", "cmake", ".ci"}) {
    if (!fs::is_directory(top / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(top / folder)) {
      if (entry.is_regular_file()) add(entry.path());
    }
  }
  add(top / "CMakeLists.txt");
  add(top / "README.md");
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.path < b.path; });
  return files;
}

TEST(Tidy, TheTreeKeepsTheHouseRules) {
  const std::vector<File> files = ReadTree(HAWSER_SOURCE_DIR);
  ASSERT_GT(files.size(), 30u) << "not the source tree: " HAWSER_SOURCE_DIR;
  std::vector<Finding> findings;
  for (const File& file : files) {
    const std::vector<Finding> found = Check(file);
    findings.insert(findings.end(), found.begin(), found.end());
  }
  CheckDoors(files, &findings);
  EXPECT_EQ(ToString(findings), "");
}

// ---------------------------------------------------------------------------
// The rules fire.

std::string Found(const std::string& path, const std::string& text) {
  return ToString(Check({path, text}));
}

constexpr char kGoodHeader[] =
    "// One way to one peer.\n"
    "// Knows: numbers.  Never: sockets.\n"
    "#pragma once\n";

TEST(TidyRules, IncludeDirection) {
  const auto include = [](const char* from, const char* name) {
    return Found(from, "#include \"" + std::string(name) + "\"\n");
  };
  EXPECT_EQ(include("transport/path/path.cc", "transport/message/request.h"),
            "transport/path/path.cc:1: transport/path/ may not include "
            "transport/message/request.h\n");
  const struct {
    const char *from, *name;
  } bad[] = {
      {"transport/base/ring.cc", "transport/wire/header.h"},
      {"transport/base/ring.cc", "absl/strings/str_cat.h"},
      {"transport/wire/header.cc", "transport/message/request.h"},
      {"transport/message/send_flow.cc", "transport/path/path.h"},
      {"transport/congestion/swift.cc", "transport/path/rtt.h"},
      {"transport/spray/adaptive.cc", "transport/wire/header.h"},
      {"transport/datapath/udp.cc", "transport/wire/header.h"},
      {"transport/datapath/udp.cc", "absl/synchronization/mutex.h"},
      {"transport/engine/engine.cc", "transport/sim/network.h"},
      {"transport/sim/network.cc", "transport/path/path.h"},
      {"nccl-plugin/plugin.cc", "transport/engine/engine.h"},
      {"nccl-plugin/plugin.cc", "transport/message/request.h"},
      {"bench/micro_bench.cc", "transport/sim/network.h"},
      {"transport/attic/old.cc", "transport/base/ids.h"},
      {"transport/path/path.cc", "path.h"},
      {"transport/path/path.cc", "../base/ids.h"},
  };
  for (const auto& [from, name] : bad) {
    EXPECT_NE(include(from, name), "") << from << " includes " << name;
  }
  const struct {
    const char *from, *name;
  } good[] = {
      {"transport/path/path.cc", "transport/congestion/swift.h"},
      {"transport/datapath/udp.cc", "absl/status/statusor.h"},
      {"transport/engine/engine.cc", "transport/spray/adaptive.h"},
      {"nccl-plugin/plugin.cc", "transport/engine/endpoint.h"},
      {"tools/hawser_sim.cc", "transport/sim/simulator.h"},
      {"tests/path/path_test.cc", "transport/sim/network.h"},
  };
  for (const auto& [from, name] : good) {
    EXPECT_EQ(include(from, name), "");
  }
}

TEST(TidyRules, WhatAnApplicationIncludes) {
  const auto found = [](const char* between, const char* name) {
    std::vector<Finding> findings;
    CheckDoors({{"transport/engine/endpoint.h",
                 "#include \"" + std::string(between) + "\"\n"},
                {between, "\n#include \"" + std::string(name) + "\"\n"}},
               &findings);
    return ToString(findings);
  };
  EXPECT_EQ(found("transport/wire/handshake.h", "transport/wire/header.h"), "");
  EXPECT_EQ(found("transport/wire/handshake.h", "transport/path/path.h"),
            "transport/wire/handshake.h:2: an application so includes "
            "transport/path/path.h\n");
  EXPECT_NE(found("transport/engine/peer.h", "transport/base/ids.h"), "");
}

TEST(TidyRules, Words) {
  const struct {
    const char *path, *text;
  } bad[] = {
      {"transport/path/path.cc", "#include <chrono>"},
      {"transport/engine/engine.cc", "t = std::chrono::steady_clock::now();"},
      {"nccl-plugin/plugin.cc", "clock_gettime(CLOCK_MONOTONIC, &t);"},
      {"transport/datapath/udp.cc", "#include <thread>"},
      {"transport/message/send_flow.cc", "#include <mutex>"},
      {"transport/base/ring.h", "#include <atomic>"},
      {"transport/path/path.cc", "std::atomic<int> n;"},
      {"transport/engine/engine.cc", "#include <sys/socket.h>"},
      {"nccl-plugin/comm.cc", "#include <netinet/in.h>"},
      {"transport/engine/engine.cc", "#include <infiniband/verbs.h>"},
      {"bench/wire_bench.cc", "#include <rte_mbuf.h>"},
      {"transport/path/path.cc", "std::function<void()> done;"},
      {"transport/datapath/udp.h", "#include <functional>"},
      {"transport/wire/header.cc", "std::string name;"},
      {"transport/message/send_flow.cc", "auto* r = new Request;"},
      {"transport/spray/adaptive.cc", "malloc(8);"},
      {"transport/engine/engine.cc", "throw 1;"},
      {"transport/engine/peer.h", "virtual ~Peer() = default;"},
      {"tests/path/path_test.cc", "using  namespace hawser;"},
      {"tests/path/path_test.cc", "#define private public"},
      {"tests/engine/engine_test.cc", "std::this_thread::sleep_for(d);"},
      {"tests/nccl/plugin_test.cc", "usleep(10);"},
  };
  for (const auto& [path, text] : bad) {
    EXPECT_THAT(Found(path, std::string("\n") + text + "\n"),
                HasSubstr(std::string(path) + ":2: "))
        << text;
  }
  const struct {
    const char *path, *text;
  } good[] = {
      {"transport/engine/clock.cc", "#include <chrono>"},
      {"transport/engine/engine.cc", "#include <thread>"},
      {"transport/base/inbox.cc", "// As std::atomic would."},
      {"transport/message/request.cc", "std::string_view s = \"new try\";"},
      {"transport/wire/handshake.cc", "std::string reason;"},
      {"transport/datapath/udp.cc", "#include <sys/socket.h>"},
      {"transport/engine/rendezvous.cc", "#include <netdb.h>"},
      {"bench/wire_bench.cc", "#include <chrono>"},
      {"tests/path/path_test.cc", "namespace hawser {"},
  };
  for (const auto& [path, text] : good) {
    EXPECT_EQ(Found(path, std::string(text) + "\n"), "");
  }
}

TEST(TidyRules, CommentsAndLiteralsAreNotCode) {
  EXPECT_EQ(Found("transport/path/path.cc",
                  "// throw\n/* new\n malloc */ int n = 1'000; // new\n"
                  "char c = '\"'; const char* s = \"\\\" throw\";\n"),
            "");
  EXPECT_EQ(
      Found("tests/a_test.cc", "auto s = R\"x(\nusing namespace a;)\")x\";\n"),
      "");
  EXPECT_THAT(
      Found("transport/path/path.cc", "const char* s = \"//\"; throw 1;\n"),
      HasSubstr("path.cc:1: throw"));
  EXPECT_THAT(Found("transport/path/path.cc", "int n = 1'000; throw '1';\n"),
              HasSubstr("path.cc:1: throw"));
}

TEST(TidyRules, HowAHeaderOpens) {
  const char* path = "transport/path/path.h";
  EXPECT_EQ(Found(path, kGoodHeader), "");
  EXPECT_THAT(Found(path, "#pragma once\n"), HasSubstr("path.h:1: "));
  EXPECT_THAT(Found(path, ""), HasSubstr("path.h:1: "));
  EXPECT_THAT(Found(path, "// A path.\n#pragma once\n"), HasSubstr("Knows:"));
  EXPECT_THAT(
      Found(path, "// A path.\n// Never: x.  Knows: y.\n#pragma once\n"),
      HasSubstr("Knows:"));
  EXPECT_THAT(Found(path, "// A path.\n// Knows: x.  Never: y.\n\n"),
              HasSubstr("#pragma once"));
  // What is a benchmark's or a test's own needs no walls.
  EXPECT_EQ(Found("tests/path/fake.h", "// A fake.\n#pragma once\n"), "");
}

TEST(TidyRules, HowALineLooks) {
  const char* path = "transport/path/path.cc";
  EXPECT_EQ(Found(path, std::string(80, ';') + "\n"), "");
  EXPECT_THAT(Found(path, std::string(81, ';') + "\n"), HasSubstr("80"));
  EXPECT_EQ(Found(path, "// " + std::string(77, 'x') + "\n"), "");
  EXPECT_EQ(Found(path, "// " + std::string(76, 'x') + "\xc3\xa9\n"), "");
  EXPECT_THAT(Found(path, "\tint n;\n"), HasSubstr("a tab"));
  EXPECT_THAT(Found(path, "int n; \n"), HasSubstr("blanks"));
  EXPECT_THAT(Found(path,
                    "// TO"
                    "DO: all of it\n"),
              HasSubstr("do it"));
  EXPECT_THAT(Found("docs/wire.md",
                    "FIX"
                    "ME\n"),
              HasSubstr("wire.md:1: "));
}

}  // namespace
