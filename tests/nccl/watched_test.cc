// Whose buffers the system may fill in any order: those of which NCCL has said
// that nobody polls them. It says so by marking the others.
#include <unistd.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/nccl/rank.h"

namespace hawser {
namespace {

constexpr int kMessages = 20;
constexpr size_t kMessageBytes = 1 << 20;

// Receives large messages, those marked that `marks` says, and tells how much
// of them was put into place by the system.
template <class Net>
uint64_t PlacedBytes(int version, const std::function<bool(int)>& marks) {
  const std::string file = testing::TempDir() + "hawser_watched";
  const Environment environment(Variables{{"HAWSER_STATS_FILE", file}});
  Library library;
  const Api api = ApiOf(*library.Table<Net>(version));
  void* context = nullptr;
  EXPECT_EQ(api.init(&context), Result::kSuccess);
  Link link = Connect(api, context, api, context);
  for (int i = 0; i < kMessages; ++i) {
    const std::vector<uint8_t> out = Pattern(kMessageBytes, 7 + i);
    std::vector<uint8_t> in(kMessageBytes);
    Pending receive = {&api};
    EXPECT_TRUE(Until([&] {
      receive.request =
          reinterpret_cast<void*>(marks(i) ? nccl::kOptionalRecvCompletion : 0);
      EXPECT_EQ(api.irecv(link.receive, in.data(), in.size(), 0, nullptr,
                          &receive.request),
                Result::kSuccess);
      return receive.request != nullptr;
    }));
    Pending send = Send(link, out.data(), out.size());
    EXPECT_TRUE(receive.Finish());
    EXPECT_TRUE(send.Finish());
    EXPECT_TRUE(in == out);
  }
  link.Close();
  EXPECT_EQ(api.finalize(context), Result::kSuccess);
  library.Unload();
  const std::string path = file + "." + std::to_string(getpid());
  std::ifstream stream(path);
  const auto report = nlohmann::json::parse(stream, nullptr, false);
  unlink(path.c_str());
  EXPECT_FALSE(report.is_discarded());
  EXPECT_EQ(report["engines"][0]["bytes_received"], kMessages * kMessageBytes);
  return report["engines"][0]["bytes_placed"];
}

bool Never(int) { return false; }
bool Always(int) { return true; }
bool AtFirst(int i) { return i == 0; }

template <class Net>
void ExpectPlacedAfterTheFirstMark(int version) {
  EXPECT_EQ(PlacedBytes<Net>(version, Never), 0u);
  EXPECT_EQ(PlacedBytes<Net>(version, Always), 0u);
  EXPECT_GT(PlacedBytes<Net>(version, AtFirst), kMessageBytes);
}

TEST(Watched, UntilNcclHasMarkedOneItMayBeAny) {
  ExpectPlacedAfterTheFirstMark<nccl::v9::Net>(9);
  ExpectPlacedAfterTheFirstMark<nccl::v10::Net>(10);
  ExpectPlacedAfterTheFirstMark<nccl::v11::Net>(11);
  ExpectPlacedAfterTheFirstMark<nccl::v12::Net>(12);
}

// What looks like a mark there is what was left in that memory.
TEST(Watched, BeforeV9ThereAreNoMarks) {
  EXPECT_EQ(PlacedBytes<nccl::v8::Net>(8, AtFirst), 0u);
  EXPECT_EQ(PlacedBytes<nccl::v6::Net>(6, AtFirst), 0u);
}

// The other comms of a communicator learn from it, those of another do not.
TEST(Watched, AMarkIsTheWordOfOneCommunicator) {
  const std::string file = testing::TempDir() + "hawser_watched";
  const Environment environment(Variables{{"HAWSER_STATS_FILE", file}});
  for (const bool same : {true, false}) {
    Library library;
    const Api api = library.Newest();
    void *one = nullptr, *other = nullptr;
    ASSERT_EQ(api.init(&one), Result::kSuccess);
    ASSERT_EQ(api.init(&other), Result::kSuccess);
    Link marked = Connect(api, one, api, one);
    Link link =
        same ? Connect(api, one, api, one) : Connect(api, other, api, other);
    std::vector<uint8_t> memory(64);
    Pending receive = {&api,
                       reinterpret_cast<void*>(nccl::kOptionalRecvCompletion)};
    ASSERT_EQ(api.irecv(marked.receive, memory.data(), memory.size(), 0,
                        nullptr, &receive.request),
              Result::kSuccess);
    Pending send = Send(marked, memory.data(), memory.size());
    ASSERT_TRUE(receive.Finish());
    ASSERT_TRUE(send.Finish());
    for (int i = 0; i < kMessages; ++i) Exchange(link, kMessageBytes, i);
    marked.Close();
    link.Close();
    EXPECT_EQ(api.finalize(one), Result::kSuccess);
    EXPECT_EQ(api.finalize(other), Result::kSuccess);
    library.Unload();
    const std::string path = file + "." + std::to_string(getpid());
    std::ifstream stream(path);
    const auto report = nlohmann::json::parse(stream, nullptr, false);
    unlink(path.c_str());
    const uint64_t placed = report["engines"][0]["bytes_placed"];
    if (same) {
      EXPECT_GT(placed, kMessageBytes);
    } else {
      EXPECT_EQ(placed, 0u);
    }
  }
}

}  // namespace
}  // namespace hawser
