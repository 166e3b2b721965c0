#include "transport/datapath/verbs/module.h"

#include "transport/datapath/verbs/datagrams.h"
#include "transport/datapath/verbs/ports.h"

namespace hawser {
namespace {

Datapath* Open(const VerbsOptions& options, std::string* error,
               std::string* choice) {
  return VerbsDatapath::Create(options, error, choice).release();
}

}  // namespace

extern "C" __attribute__((visibility("default")))
const VerbsModule hawser_verbs_module = {kVerbsModuleVersion, &FindVerbsPorts,
                                         &Open};

}  // namespace hawser
