// LastError: what the system said of the call that has just failed.
// Knows: errno.  Never: what becomes of the failure.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace hawser {

inline std::string LastError(absl::string_view what) {
  return absl::StrCat(what, ": ", strerror(errno));
}

}  // namespace hawser
