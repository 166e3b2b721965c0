// One net plugin, loaded, behind one set of calls whatever its API version.
// Knows: the differences between v6 and v12.  Never: who calls, and why.
#pragma once

#include <cstddef>
#include <string>
#include <variant>

#include "nccl-plugin/net_abi.h"

namespace hawser::bench {

struct DeviceProperties {
  std::string name;
  int speed_mbps = 0;
  int pointer_support = 0;  // kPtrHost and others, or-ed.
  int receives_max = 1;
};

class NetLibrary {
 public:
  // Loads `file`; empty stands for our own plugin, looked for beside this
  // program, in ../lib and where the loader looks. `api` 0 takes the newest
  // of v8 to v12. Ends the process if nothing fits. The plugin's WARN lines go
  // to stderr, its INFO lines too if `verbose`.
  NetLibrary(const std::string& file, int api, int rank, bool verbose);
  ~NetLibrary();
  NetLibrary(const NetLibrary&) = delete;
  NetLibrary& operator=(const NetLibrary&) = delete;

  const std::string& file() const { return file_; }
  std::string name() const;
  int api() const;

  // As NCCL calls them. A call that a version lacks succeeds and does nothing.
  nccl::Result Init();
  nccl::Result Devices(int* count);
  nccl::Result GetProperties(int device, DeviceProperties* properties);
  nccl::Result Listen(int device, void* handle, void** listen_comm);
  nccl::Result Connect(int device, void* handle, void** send_comm);
  nccl::Result Accept(void* listen_comm, void** recv_comm);
  nccl::Result Register(void* comm, void* bytes, size_t size, void** region);
  nccl::Result Unregister(void* comm, void* region);
  nccl::Result Isend(void* send_comm, void* bytes, size_t size, int tag,
                     void* region, void** request);
  // `marked`: as NCCL does where it watches the buffer. Its `request` may be
  // done before anything is there.
  nccl::Result Irecv(void* recv_comm, void* bytes, size_t capacity, int tag,
                     void* region, bool marked, void** request);
  bool has_marks() const { return api() >= 9; }
  nccl::Result Test(void* request, int* done, int* size);
  nccl::Result CloseSend(void* send_comm);
  nccl::Result CloseRecv(void* recv_comm);
  nccl::Result CloseListen(void* listen_comm);
  nccl::Result Finalize();

 private:
  using Table = std::variant<const nccl::v6::Net*, const nccl::v7::Net*,
                             const nccl::v8::Net*, const nccl::v9::Net*,
                             const nccl::v10::Net*, const nccl::v11::Net*,
                             const nccl::v12::Net*>;

  void Load(const std::string& file);
  bool Find(int version);

  std::string file_;
  void* library_ = nullptr;
  Table table_;
  void* context_ = nullptr;  // From v11 on.
};

}  // namespace hawser::bench
