// The tables that NCCL looks up: one implementation, and for each version of
// the ABI only what differs. Functions take the widest types any version has;
// thin wrappers widen what older versions give.
#include <cstdint>
#include <string>

#include "nccl-plugin/comm.h"
#include "nccl-plugin/device.h"
#include "nccl-plugin/net_abi.h"

namespace hawser {
namespace {

using nccl::Result;

constexpr char kName[] = "Hawser";
// A peer has room for a few more flows, each way.
constexpr int kMaxComms = 65'000;
constexpr size_t kMaxMessage = size_t{1} << 30;
// Before v11 there is one context, and it ends with the unloading.
constexpr void* kNoContext = nullptr;

// --- Contexts --------------------------------------------------------------

Result Begin(nccl::Logger log, int traffic_class, void** context) {
  const absl::Status status = Devices::Get().Begin(log, traffic_class, context);
  if (!status.ok()) {
    Devices::Get().Log(nccl::LogLevel::kWarn, std::string(status.message()));
  }
  return ToNccl(status);
}

Result InitV11(void** ctx, uint64_t, nccl::v10::CommConfig* config,
               nccl::Logger log, nccl::ProfilerCallback) {
  *ctx = nullptr;
  return Begin(
      log,
      config != nullptr ? config->trafficClass : nccl::kTrafficClassUndefined,
      ctx);
}
Result InitV10(nccl::Logger log, nccl::ProfilerCallback) {
  void* context = nullptr;
  return Begin(log, nccl::kTrafficClassUndefined, &context);
}
Result InitV9(nccl::Logger log) { return InitV10(log, nullptr); }
Result Finalize(void* ctx) {
  Devices::Get().End(ctx);
  return Result::kSuccess;
}

// --- Devices ---------------------------------------------------------------

Result CountDevices(int* count) {
  *count = Devices::Get().count();
  return Result::kSuccess;
}

// What all versions have.
template <class Properties>
Result Describe(int dev, Properties* to) {
  const Device* device = Devices::Get().device(dev);
  if (device == nullptr) return Result::kInvalidArgument;
  *to = {};
  to->name = const_cast<char*>(device->offer.name.c_str());
  if (!device->pci_path.empty()) {
    to->pciPath = const_cast<char*>(device->pci_path.c_str());
  }
  to->guid = static_cast<uint64_t>(dev);
  to->ptrSupport = nccl::kPtrHost |
                   (device->gpu_reach.by_address ? nccl::kPtrCuda : 0) |
                   (device->gpu_reach.by_dmabuf ? nccl::kPtrDmaBuf : 0);
  to->speed = device->speed_mbps;
  to->port = 1;
  to->maxComms = kMaxComms;
  to->maxRecvs = 1;
  if constexpr (requires { to->netDeviceType; }) {
    to->netDeviceType = nccl::kNetDeviceHost;
    to->netDeviceVersion = nccl::kNetDeviceInvalidVersion;
  }
  if constexpr (requires { to->regIsGlobal; }) to->regIsGlobal = 1;
  if constexpr (requires { to->vProps; }) {
    to->vProps.ndevs = 1;
    to->vProps.devs[0] = dev;
    to->maxP2pBytes = to->maxCollBytes = kMaxMessage;
  }
  if constexpr (requires { to->maxMultiRequestSize; }) {
    to->maxMultiRequestSize = 1;
  }
  if constexpr (requires { to->railId; }) {
    to->railId = to->planeId = nccl::kNetIdUndefined;
  }
  return Result::kSuccess;
}

// --- Connections -----------------------------------------------------------

Result Listen(int dev, void* handle, void** comm) {
  return ListenComm::Listen(kNoContext, dev, handle, comm);
}
Result ListenV11(void* ctx, int dev, void* handle, void** comm) {
  return ListenComm::Listen(ctx, dev, handle, comm);
}
Result ConnectV6(int dev, void* handle, void** comm) {
  return Connect(kNoContext, dev, handle, comm);
}
Result ConnectV7(int dev, void* handle, void** comm, nccl::DeviceHandle**) {
  return Connect(kNoContext, dev, handle, comm);
}
Result ConnectV10(int dev, nccl::v10::CommConfig* config, void* handle,
                  void** comm, nccl::DeviceHandle**) {
  if (config != nullptr) {
    Devices::Get().AskForTrafficClass(config->trafficClass);
  }
  return Connect(kNoContext, dev, handle, comm);
}
Result ConnectV11(void* ctx, int dev, void* handle, void** comm,
                  nccl::DeviceHandle**) {
  return Connect(ctx, dev, handle, comm);
}
Result AcceptV6(void* listen_comm, void** comm) {
  return static_cast<ListenComm*>(listen_comm)->Accept(comm);
}
Result AcceptV7(void* listen_comm, void** comm, nccl::DeviceHandle**) {
  return static_cast<ListenComm*>(listen_comm)->Accept(comm);
}
Result CloseComm(void* comm) { return Close(comm); }

// --- Memory ----------------------------------------------------------------

Result RegisterMemory(void* comm, const Memory& memory, void** mhandle) {
  *mhandle = nullptr;
  return comm != nullptr ? static_cast<Comm*>(comm)->Register(memory, mhandle)
                         : Result::kSuccess;
}
Result Register(void* comm, void* memory, size_t bytes, int type,
                void** mhandle) {
  *mhandle = nullptr;
  if (type != nccl::kPtrHost && type != nccl::kPtrCuda) {
    Devices::Get().Log(nccl::LogLevel::kWarn,
                       "regMr: expected type NCCL_PTR_HOST or NCCL_PTR_CUDA");
    return Result::kInvalidArgument;
  }
  return RegisterMemory(
      comm,
      {static_cast<std::byte*>(memory), bytes,
       type == nccl::kPtrCuda ? MemoryKind::kGpu : MemoryKind::kHost},
      mhandle);
}
Result RegisterDmaBuf(void* comm, void* memory, size_t bytes, int type,
                      uint64_t offset, int fd, void** mhandle) {
  *mhandle = nullptr;
  if (type != nccl::kPtrCuda || fd < 0) {
    Devices::Get().Log(nccl::LogLevel::kWarn,
                       "regMrDmaBuf: expected type NCCL_PTR_CUDA and a "
                       "descriptor");
    return Result::kInvalidArgument;
  }
  return RegisterMemory(
      comm,
      {static_cast<std::byte*>(memory), bytes, MemoryKind::kGpu, fd, offset},
      mhandle);
}
Result RegisterV6(void* comm, void* memory, int size, int type,
                  void** mhandle) {
  return Register(comm, memory, static_cast<size_t>(size), type, mhandle);
}
Result Unregister(void* comm, void* mhandle) {
  if (comm != nullptr) static_cast<Comm*>(comm)->Unregister(mhandle);
  return Result::kSuccess;
}

// --- Messages --------------------------------------------------------------

// A tag says which buffer of a group a message is for. With one buffer in each
// irecv, as maxRecvs says, messages meet buffers in their order.
Result Isend(void* comm, void* memory, size_t bytes, int /*tag*/, void* mhandle,
             void** request) {
  return static_cast<Comm*>(comm)->Send(memory, bytes, mhandle, request);
}
Result IsendV6(void* comm, void* memory, int bytes, int tag, void* mhandle,
               void** request) {
  return Isend(comm, memory, static_cast<size_t>(bytes), tag, mhandle, request);
}
Result IsendV10(void* comm, void* memory, size_t bytes, int tag, void* mhandle,
                void*, void** request) {
  return Isend(comm, memory, bytes, tag, mhandle, request);
}

// Marked: *request as it was found says so.
template <class Size>
Result Receive(void* comm, int n, void** memory, Size* sizes, void** mhandles,
               bool marked, void** request) {
  *request = nullptr;
  if (n != 1) {
    Devices::Get().Log(nccl::LogLevel::kWarn,
                       "irecv: expected one buffer, as maxRecvs says");
    return Result::kInvalidArgument;
  }
  return static_cast<Comm*>(comm)->Receive(
      memory[0], static_cast<size_t>(sizes[0]),
      mhandles != nullptr ? mhandles[0] : nullptr, marked, request);
}
// What stands in *request means nothing yet.
Result IrecvV6(void* comm, int n, void** memory, int* sizes, int*,
               void** mhandles, void** request) {
  return Receive(comm, n, memory, sizes, mhandles, /*marked=*/false, request);
}
Result IrecvV9(void* comm, int n, void** memory, size_t* sizes, int*,
               void** mhandles, void** request) {
  const bool marked =
      reinterpret_cast<uintptr_t>(*request) == nccl::kOptionalRecvCompletion;
  return Receive(comm, n, memory, sizes, mhandles, marked, request);
}
Result IrecvV10(void* comm, int n, void** memory, size_t* sizes, int* tags,
                void** mhandles, void**, void** request) {
  return IrecvV9(comm, n, memory, sizes, tags, mhandles, request);
}

// Bytes in host memory are there when the receive is done.
Result Iflush(void* comm, int n, void** memory, int* sizes, void** mhandles,
              void** request) {
  *request = nullptr;
  if (comm == nullptr || n != 1 || mhandles == nullptr || sizes[0] <= 0) {
    return Result::kSuccess;
  }
  return static_cast<Comm*>(comm)->Flush(
      memory[0], static_cast<size_t>(sizes[0]), mhandles[0], request);
}

Result Test(void* request, int* done, int* sizes) {
  auto* started = static_cast<CommRequest*>(request);
  if (started == nullptr || started->comm == nullptr) {
    return Result::kInvalidArgument;
  }
  return started->comm->Test(*started, done, sizes);
}

Result SetAttributes(void*, nccl::v11::NetAttributes*) {
  return Result::kSuccess;
}

// v11 and v12 differ in their properties alone.
template <class Net, class Properties>
constexpr Net Newest() {
  return {
      .name = kName,
      .init = InitV11,
      .devices = CountDevices,
      .getProperties = Describe<Properties>,
      .listen = ListenV11,
      .connect = ConnectV11,
      .accept = AcceptV7,
      .regMr = Register,
      .regMrDmaBuf = RegisterDmaBuf,
      .deregMr = Unregister,
      .isend = IsendV10,
      .irecv = IrecvV10,
      .iflush = Iflush,
      .test = Test,
      .closeSend = CloseComm,
      .closeRecv = CloseComm,
      .closeListen = CloseComm,
      .getDeviceMr = nullptr,
      .irecvConsumed = nullptr,
      .makeVDevice = nullptr,
      .finalize = Finalize,
      .setNetAttr = SetAttributes,
  };
}

}  // namespace

// --- The tables ------------------------------------------------------------

#define HAWSER_EXPORT extern "C" __attribute__((visibility("default")))

HAWSER_EXPORT const nccl::v6::Net ncclNetPlugin_v6 = {
    .name = kName,
    .init = InitV9,
    .devices = CountDevices,
    .getProperties = Describe<nccl::v6::Properties>,
    .listen = Listen,
    .connect = ConnectV6,
    .accept = AcceptV6,
    .regMr = RegisterV6,
    .regMrDmaBuf = RegisterDmaBuf,
    .deregMr = Unregister,
    .isend = IsendV6,
    .irecv = IrecvV6,
    .iflush = Iflush,
    .test = Test,
    .closeSend = CloseComm,
    .closeRecv = CloseComm,
    .closeListen = CloseComm,
};

HAWSER_EXPORT const nccl::v7::Net ncclNetPlugin_v7 = {
    .name = kName,
    .init = InitV9,
    .devices = CountDevices,
    .getProperties = Describe<nccl::v7::Properties>,
    .listen = Listen,
    .connect = ConnectV7,
    .accept = AcceptV7,
    .regMr = RegisterV6,
    .regMrDmaBuf = RegisterDmaBuf,
    .deregMr = Unregister,
    .isend = IsendV6,
    .irecv = IrecvV6,
    .iflush = Iflush,
    .test = Test,
    .closeSend = CloseComm,
    .closeRecv = CloseComm,
    .closeListen = CloseComm,
    .getDeviceMr = nullptr,
    .irecvConsumed = nullptr,
};

HAWSER_EXPORT const nccl::v8::Net ncclNetPlugin_v8 = {
    .name = kName,
    .init = InitV9,
    .devices = CountDevices,
    .getProperties = Describe<nccl::v8::Properties>,
    .listen = Listen,
    .connect = ConnectV7,
    .accept = AcceptV7,
    .regMr = Register,
    .regMrDmaBuf = RegisterDmaBuf,
    .deregMr = Unregister,
    .isend = IsendV6,
    .irecv = IrecvV6,
    .iflush = Iflush,
    .test = Test,
    .closeSend = CloseComm,
    .closeRecv = CloseComm,
    .closeListen = CloseComm,
    .getDeviceMr = nullptr,
    .irecvConsumed = nullptr,
};

HAWSER_EXPORT const nccl::v9::Net ncclNetPlugin_v9 = {
    .name = kName,
    .init = InitV9,
    .devices = CountDevices,
    .getProperties = Describe<nccl::v9::Properties>,
    .listen = Listen,
    .connect = ConnectV7,
    .accept = AcceptV7,
    .regMr = Register,
    .regMrDmaBuf = RegisterDmaBuf,
    .deregMr = Unregister,
    .isend = Isend,
    .irecv = IrecvV9,
    .iflush = Iflush,
    .test = Test,
    .closeSend = CloseComm,
    .closeRecv = CloseComm,
    .closeListen = CloseComm,
    .getDeviceMr = nullptr,
    .irecvConsumed = nullptr,
    .makeVDevice = nullptr,
};

HAWSER_EXPORT const nccl::v10::Net ncclNetPlugin_v10 = {
    .name = kName,
    .init = InitV10,
    .devices = CountDevices,
    .getProperties = Describe<nccl::v10::Properties>,
    .listen = Listen,
    .connect = ConnectV10,
    .accept = AcceptV7,
    .regMr = Register,
    .regMrDmaBuf = RegisterDmaBuf,
    .deregMr = Unregister,
    .isend = IsendV10,
    .irecv = IrecvV10,
    .iflush = Iflush,
    .test = Test,
    .closeSend = CloseComm,
    .closeRecv = CloseComm,
    .closeListen = CloseComm,
    .getDeviceMr = nullptr,
    .irecvConsumed = nullptr,
    .makeVDevice = nullptr,
};

HAWSER_EXPORT const nccl::v11::Net ncclNetPlugin_v11 =
    Newest<nccl::v11::Net, nccl::v11::Properties>();
HAWSER_EXPORT const nccl::v12::Net ncclNetPlugin_v12 =
    Newest<nccl::v12::Net, nccl::v12::Properties>();

}  // namespace hawser
