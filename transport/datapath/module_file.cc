#include "transport/datapath/module_file.h"

#include <dlfcn.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hawser {
namespace {

// The folder of the file that this very code is in, with a slash; or empty.
std::string OwnFolder() {
  Dl_info found;
  if (dladdr(reinterpret_cast<const void*>(&LoadTable), &found) == 0 ||
      found.dli_fname == nullptr) {
    return "";
  }
  const std::string file = found.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

}  // namespace

absl::StatusOr<const void*> LoadTable(const char* file, const char* name,
                                      uint32_t version) {
  // Never unloaded: what drives devices is not made to be.
  constexpr int kHow = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
  void* loaded = nullptr;
  std::string why;
  for (const std::string& path : {OwnFolder() + file, std::string(file)}) {
    loaded = dlopen(path.c_str(), kHow);
    if (loaded != nullptr) break;
    // The nearer file's trouble is the one to tell, unless it is not there.
    const std::string said = dlerror();
    if (why.empty() || why.find(file) != std::string::npos) why = said;
  }
  if (loaded == nullptr) return absl::NotFoundError(why);
  const auto* table = static_cast<const uint32_t*>(dlsym(loaded, name));
  if (table == nullptr || *table != version) {
    return absl::FailedPreconditionError(
        absl::StrCat(file, " is of another version of Hawser"));
  }
  return table;
}

}  // namespace hawser
