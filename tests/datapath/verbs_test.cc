// What can be said of verbs without an RDMA device; tests/verbs has the rest.
#include "transport/datapath/verbs.h"

#include <gtest/gtest.h>

namespace hawser {
namespace {

TEST(SelectsPort, NamesArePrefixesUnlessTheyAreExact) {
  EXPECT_TRUE(SelectsPort("mlx5", "mlx5_0", 1));
  EXPECT_TRUE(SelectsPort("irdma,mlx5_1", "mlx5_10", 1));
  EXPECT_FALSE(SelectsPort("mlx5_1", "mlx5_0", 1));
  EXPECT_TRUE(SelectsPort("=mlx5_1", "mlx5_1", 1));
  EXPECT_FALSE(SelectsPort("=mlx5_1", "mlx5_10", 1));
}

TEST(SelectsPort, APortMayBeNamed) {
  EXPECT_TRUE(SelectsPort("mlx5_0:2", "mlx5_0", 2));
  EXPECT_FALSE(SelectsPort("mlx5_0:2", "mlx5_0", 1));
  EXPECT_TRUE(SelectsPort("=mlx5_0:1,mlx5_1:2", "mlx5_1", 2));
  // A rail and a plane may follow; NCCL gives them a meaning, we do not.
  EXPECT_TRUE(SelectsPort("=mlx5_0:1:3:0", "mlx5_0", 1));
  EXPECT_FALSE(SelectsPort("mlx5_0:x", "mlx5_0", 1));
}

TEST(SelectsPort, ACaretExcludes) {
  EXPECT_FALSE(SelectsPort("^mlx5_0", "mlx5_0", 1));
  EXPECT_TRUE(SelectsPort("^mlx5_0", "mlx5_1", 1));
  EXPECT_FALSE(SelectsPort("^=mlx5_3,mlx5_5", "mlx5_5", 1));
  EXPECT_TRUE(SelectsPort("^=mlx5_3,mlx5_5", "mlx5_50", 1));
  EXPECT_FALSE(SelectsPort("^mlx5_0:1", "mlx5_0", 1));
  EXPECT_TRUE(SelectsPort("^mlx5_0:1", "mlx5_0", 2));
}

TEST(VerbsLibrary, WhatIsMissingIsSaid) {
  const auto library = VerbsLibrary::Load();
  if (!library.ok()) {
    EXPECT_NE(library.status().message().find("hawser-verbs"),
              std::string::npos)
        << library.status();
    return;
  }
  // No device bears such a name; whether there is one at all is not known.
  const auto ports =
      (*library)->FindPorts("=no-such-device", AddressFamily::kAny, -1);
  EXPECT_EQ(ports.status().code(), absl::StatusCode::kNotFound);
  VerbsOptions options;
  options.device = "no-such-device";
  std::string choice;
  EXPECT_FALSE((*library)->Open(options, &choice).ok());
}

}  // namespace
}  // namespace hawser
