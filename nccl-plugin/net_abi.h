// NCCL's net plugin ABI, versions 6 to 12, in our own words: the order, types
// and meaning of what crosses the border, checked against known sizes.
// Knows: layouts and constants.  Never: how any of it is implemented.
//
// A plugin exports one data symbol per version, `ncclNetPlugin_v<N>`, which is
// the table itself. The loader takes the newest one that it knows. A later
// version differs from the one before it by little, so each namespace below
// names what is new and borrows the rest.
//
// Field names follow the ABI, so that a reader finds them in NCCL's documents.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hawser::nccl {

enum class Result : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,    // The local operating system or NIC.
  kInternalError = 3,  // A bug of the plugin.
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,  // The peer, or the network on the way to it.
  kInProgress = 7,   // Never returned by a net plugin.
};

enum class LogLevel : int {
  kNone = 0,
  kVersion = 1,
  kWarn = 2,  // The text becomes ncclGetLastError().
  kInfo = 3,
  kAbort = 4,
  kTrace = 5,
};

// Subsystems of a log line: a bit mask, of which these are ours.
inline constexpr unsigned long kLogInit = 0x1;
inline constexpr unsigned long kLogNet = 0x10;

// printf-like. `file` and `line` say where; core puts them before the text.
using Logger = void (*)(LogLevel level, unsigned long flags, const char* file,
                        int line, const char* format, ...);

// From v10 on. type: 0 start, 1 stop, 2 update, 3 update and stop.
using ProfilerCallback = Result (*)(void** event, int type, void* pHandle,
                                    int64_t pluginId, void* data);

inline constexpr int kHandleMaxBytes = 128;  // What listen() may fill.
inline constexpr int kMaxRequests = 32;      // Per comm, times maxRecvs.
inline constexpr size_t kMaxMessageBytes = size_t{1} << 40;  // From v9 on.
inline constexpr int kMaxMessageBytesInt = 1 << 30;          // Before v9.

// Kinds of memory: a bit mask in ptrSupport, one of them in regMr().
inline constexpr int kPtrHost = 0x1;
inline constexpr int kPtrCuda = 0x2;
inline constexpr int kPtrDmaBuf = 0x4;

// What *request may hold when irecv() is entered, from v9 on: the caller sees
// the arrival by itself, so the request may complete at any time. A plugin
// must never leave it there.
inline constexpr uintptr_t kOptionalRecvCompletion = 0x1;

inline constexpr int kTrafficClassUndefined = -1;
inline constexpr int kNetIdUndefined = -1;  // railId, planeId.

inline constexpr int kNetDeviceHost = 0;  // netDeviceType: no device offload.
inline constexpr int kNetDeviceInvalidVersion = 0;

// Device offload, for plugins that unpack on the GPU. Others ignore it.
struct DeviceHandle {
  int netDeviceType;
  int netDeviceVersion;
  void* handle;
  size_t size;
  int needsProxyProgress;
};
static_assert(sizeof(DeviceHandle) == 32);

namespace v6 {

struct Properties {
  char* name;     // Unique among the devices.
  char* pciPath;  // In /sys, or null.
  uint64_t guid;  // Devices with equal guids share a NIC.
  int ptrSupport;
  int speed;  // Mb/s.
  int port;
  float latency;  // us.
  int maxComms;
  int maxRecvs;  // The most buffers in one irecv().
};
static_assert(sizeof(Properties) == 48);

struct Net {
  const char* name;  // Read before init().
  Result (*init)(Logger log);
  Result (*devices)(int* count);
  Result (*getProperties)(int dev, Properties* properties);
  Result (*listen)(int dev, void* handle, void** listenComm);
  Result (*connect)(int dev, void* handle, void** sendComm);
  Result (*accept)(void* listenComm, void** recvComm);
  Result (*regMr)(void* comm, void* data, int size, int type, void** mhandle);
  Result (*regMrDmaBuf)(void* comm, void* data, size_t size, int type,
                        uint64_t offset, int fd, void** mhandle);
  Result (*deregMr)(void* comm, void* mhandle);
  Result (*isend)(void* sendComm, void* data, int size, int tag, void* mhandle,
                  void** request);
  Result (*irecv)(void* recvComm, int n, void** data, int* sizes, int* tags,
                  void** mhandles, void** request);
  Result (*iflush)(void* recvComm, int n, void** data, int* sizes,
                   void** mhandles, void** request);
  Result (*test)(void* request, int* done, int* sizes);
  Result (*closeSend)(void* sendComm);
  Result (*closeRecv)(void* recvComm);
  Result (*closeListen)(void* listenComm);
};
static_assert(sizeof(Net) == 17 * sizeof(void*));

}  // namespace v6

namespace v7 {  // NCCL 2.19: device offload.

struct Properties {
  char* name;
  char* pciPath;
  uint64_t guid;
  int ptrSupport;
  int speed;
  int port;
  float latency;
  int maxComms;
  int maxRecvs;
  int netDeviceType;
  int netDeviceVersion;
};
static_assert(sizeof(Properties) == 56);

struct Net {
  const char* name;
  Result (*init)(Logger log);
  Result (*devices)(int* count);
  Result (*getProperties)(int dev, Properties* properties);
  Result (*listen)(int dev, void* handle, void** listenComm);
  Result (*connect)(int dev, void* handle, void** sendComm,
                    DeviceHandle** device);
  Result (*accept)(void* listenComm, void** recvComm, DeviceHandle** device);
  Result (*regMr)(void* comm, void* data, int size, int type, void** mhandle);
  Result (*regMrDmaBuf)(void* comm, void* data, size_t size, int type,
                        uint64_t offset, int fd, void** mhandle);
  Result (*deregMr)(void* comm, void* mhandle);
  Result (*isend)(void* sendComm, void* data, int size, int tag, void* mhandle,
                  void** request);
  Result (*irecv)(void* recvComm, int n, void** data, int* sizes, int* tags,
                  void** mhandles, void** request);
  Result (*iflush)(void* recvComm, int n, void** data, int* sizes,
                   void** mhandles, void** request);
  Result (*test)(void* request, int* done, int* sizes);
  Result (*closeSend)(void* sendComm);
  Result (*closeRecv)(void* recvComm);
  Result (*closeListen)(void* listenComm);
  Result (*getDeviceMr)(void* comm, void* mhandle, void** deviceMhandle);
  Result (*irecvConsumed)(void* recvComm, int n, void* request);
};
static_assert(sizeof(Net) == 19 * sizeof(void*));

}  // namespace v7

namespace v8 {  // NCCL 2.20: regIsGlobal, regions of more than 2 GiB.

struct Properties {
  char* name;
  char* pciPath;
  uint64_t guid;
  int ptrSupport;
  int regIsGlobal;  // A registration on one comm holds on all.
  int speed;
  int port;
  float latency;
  int maxComms;
  int maxRecvs;
  int netDeviceType;
  int netDeviceVersion;
};
static_assert(sizeof(Properties) == 64);
static_assert(offsetof(Properties, speed) == 32);

struct Net {
  const char* name;
  Result (*init)(Logger log);
  Result (*devices)(int* count);
  Result (*getProperties)(int dev, Properties* properties);
  Result (*listen)(int dev, void* handle, void** listenComm);
  Result (*connect)(int dev, void* handle, void** sendComm,
                    DeviceHandle** device);
  Result (*accept)(void* listenComm, void** recvComm, DeviceHandle** device);
  Result (*regMr)(void* comm, void* data, size_t size, int type,
                  void** mhandle);
  Result (*regMrDmaBuf)(void* comm, void* data, size_t size, int type,
                        uint64_t offset, int fd, void** mhandle);
  Result (*deregMr)(void* comm, void* mhandle);
  Result (*isend)(void* sendComm, void* data, int size, int tag, void* mhandle,
                  void** request);
  Result (*irecv)(void* recvComm, int n, void** data, int* sizes, int* tags,
                  void** mhandles, void** request);
  Result (*iflush)(void* recvComm, int n, void** data, int* sizes,
                   void** mhandles, void** request);
  Result (*test)(void* request, int* done, int* sizes);
  Result (*closeSend)(void* sendComm);
  Result (*closeRecv)(void* recvComm);
  Result (*closeListen)(void* listenComm);
  Result (*getDeviceMr)(void* comm, void* mhandle, void** deviceMhandle);
  Result (*irecvConsumed)(void* recvComm, int n, void* request);
};
static_assert(sizeof(Net) == 19 * sizeof(void*));

}  // namespace v8

namespace v9 {  // NCCL 2.24: messages of more than 2 GiB, virtual devices.

inline constexpr int kMaxDevicesPerVirtual = 4;

// The devices that a virtual device joins. A plain device names itself.
struct VirtualProperties {
  int ndevs;
  int devs[kMaxDevicesPerVirtual];
};
static_assert(sizeof(VirtualProperties) == 20);

struct Properties {
  char* name;
  char* pciPath;
  uint64_t guid;
  int ptrSupport;
  int regIsGlobal;
  int forceFlush;
  int speed;
  int port;
  float latency;
  int maxComms;
  int maxRecvs;
  int netDeviceType;
  int netDeviceVersion;
  VirtualProperties vProps;
  size_t maxP2pBytes;  // Within (0, kMaxMessageBytes].
  size_t maxCollBytes;
};
static_assert(sizeof(Properties) == 104);
static_assert(offsetof(Properties, speed) == 36);
static_assert(offsetof(Properties, maxP2pBytes) == 88);

struct Net {
  const char* name;
  Result (*init)(Logger log);
  Result (*devices)(int* count);
  Result (*getProperties)(int dev, Properties* properties);
  Result (*listen)(int dev, void* handle, void** listenComm);
  Result (*connect)(int dev, void* handle, void** sendComm,
                    DeviceHandle** device);
  Result (*accept)(void* listenComm, void** recvComm, DeviceHandle** device);
  Result (*regMr)(void* comm, void* data, size_t size, int type,
                  void** mhandle);
  Result (*regMrDmaBuf)(void* comm, void* data, size_t size, int type,
                        uint64_t offset, int fd, void** mhandle);
  Result (*deregMr)(void* comm, void* mhandle);
  Result (*isend)(void* sendComm, void* data, size_t size, int tag,
                  void* mhandle, void** request);
  Result (*irecv)(void* recvComm, int n, void** data, size_t* sizes, int* tags,
                  void** mhandles, void** request);
  Result (*iflush)(void* recvComm, int n, void** data, int* sizes,
                   void** mhandles, void** request);
  Result (*test)(void* request, int* done, int* sizes);
  Result (*closeSend)(void* sendComm);
  Result (*closeRecv)(void* recvComm);
  Result (*closeListen)(void* listenComm);
  Result (*getDeviceMr)(void* comm, void* mhandle, void** deviceMhandle);
  Result (*irecvConsumed)(void* recvComm, int n, void* request);
  Result (*makeVDevice)(int* dev, VirtualProperties* properties);
};
static_assert(sizeof(Net) == 20 * sizeof(void*));

}  // namespace v9

namespace v10 {  // NCCL 2.26: a profiler's handle, the traffic class.

using VirtualProperties = v9::VirtualProperties;
using Properties = v9::Properties;

struct CommConfig {
  int trafficClass;  // kTrafficClassUndefined: the plugin chooses.
};
static_assert(sizeof(CommConfig) == 4);

struct Net {
  const char* name;
  Result (*init)(Logger log, ProfilerCallback profiler);
  Result (*devices)(int* count);
  Result (*getProperties)(int dev, Properties* properties);
  Result (*listen)(int dev, void* handle, void** listenComm);
  Result (*connect)(int dev, CommConfig* config, void* handle, void** sendComm,
                    DeviceHandle** device);
  Result (*accept)(void* listenComm, void** recvComm, DeviceHandle** device);
  Result (*regMr)(void* comm, void* data, size_t size, int type,
                  void** mhandle);
  Result (*regMrDmaBuf)(void* comm, void* data, size_t size, int type,
                        uint64_t offset, int fd, void** mhandle);
  Result (*deregMr)(void* comm, void* mhandle);
  Result (*isend)(void* sendComm, void* data, size_t size, int tag,
                  void* mhandle, void* pHandle, void** request);
  Result (*irecv)(void* recvComm, int n, void** data, size_t* sizes, int* tags,
                  void** mhandles, void** pHandles, void** request);
  Result (*iflush)(void* recvComm, int n, void** data, int* sizes,
                   void** mhandles, void** request);
  Result (*test)(void* request, int* done, int* sizes);
  Result (*closeSend)(void* sendComm);
  Result (*closeRecv)(void* recvComm);
  Result (*closeListen)(void* listenComm);
  Result (*getDeviceMr)(void* comm, void* mhandle, void** deviceMhandle);
  Result (*irecvConsumed)(void* recvComm, int n, void* request);
  Result (*makeVDevice)(int* dev, VirtualProperties* properties);
};
static_assert(sizeof(Net) == 20 * sizeof(void*));

}  // namespace v10

namespace v11 {  // NCCL 2.28: a context per communicator, finalize().

using VirtualProperties = v9::VirtualProperties;
using CommConfig = v10::CommConfig;

struct Properties {
  char* name;
  char* pciPath;
  uint64_t guid;
  int ptrSupport;
  int regIsGlobal;
  int forceFlush;
  int speed;
  int port;
  float latency;
  int maxComms;
  int maxRecvs;
  int netDeviceType;
  int netDeviceVersion;
  VirtualProperties vProps;
  size_t maxP2pBytes;
  size_t maxCollBytes;
  int maxMultiRequestSize;
};
static_assert(sizeof(Properties) == 112);
static_assert(offsetof(Properties, maxP2pBytes) == 88);
static_assert(offsetof(Properties, maxMultiRequestSize) == 104);

// A hint on how the comms of an operation are used; -1 where nothing is known.
struct CommAttributes {
  int32_t maxConcurrentPeers;
  int32_t minConcurrentPeers;
  int32_t maxFlowsPerPeer;
  int32_t minFlowsPerPeer;
};

struct NetAttributes {
  CommAttributes sendCommAttr;
  CommAttributes recvCommAttr;
  uint32_t op;  // These three are bit masks.
  uint32_t algo;
  uint32_t proto;
};
static_assert(sizeof(NetAttributes) == 44);

// `VirtualT` and `PropertiesT` are all that v12 changes.
template <typename PropertiesT, typename VirtualT>
struct NetWith {
  const char* name;
  Result (*init)(void** ctx, uint64_t commId, CommConfig* config, Logger log,
                 ProfilerCallback profiler);
  Result (*devices)(int* count);
  Result (*getProperties)(int dev, PropertiesT* properties);
  Result (*listen)(void* ctx, int dev, void* handle, void** listenComm);
  Result (*connect)(void* ctx, int dev, void* handle, void** sendComm,
                    DeviceHandle** device);
  Result (*accept)(void* listenComm, void** recvComm, DeviceHandle** device);
  Result (*regMr)(void* comm, void* data, size_t size, int type,
                  void** mhandle);
  Result (*regMrDmaBuf)(void* comm, void* data, size_t size, int type,
                        uint64_t offset, int fd, void** mhandle);
  Result (*deregMr)(void* comm, void* mhandle);
  Result (*isend)(void* sendComm, void* data, size_t size, int tag,
                  void* mhandle, void* pHandle, void** request);
  Result (*irecv)(void* recvComm, int n, void** data, size_t* sizes, int* tags,
                  void** mhandles, void** pHandles, void** request);
  Result (*iflush)(void* recvComm, int n, void** data, int* sizes,
                   void** mhandles, void** request);
  Result (*test)(void* request, int* done, int* sizes);
  Result (*closeSend)(void* sendComm);
  Result (*closeRecv)(void* recvComm);
  Result (*closeListen)(void* listenComm);
  Result (*getDeviceMr)(void* comm, void* mhandle, void** deviceMhandle);
  Result (*irecvConsumed)(void* recvComm, int n, void* request);
  Result (*makeVDevice)(int* dev, VirtualT* properties);
  Result (*finalize)(void* ctx);  // Never null; `ctx` may be.
  Result (*setNetAttr)(void* ctx, NetAttributes* attributes);
};

using Net = NetWith<Properties, VirtualProperties>;
static_assert(sizeof(Net) == 22 * sizeof(void*));

}  // namespace v11

namespace v12 {  // NCCL 2.30: rails and planes, eight devices in a virtual one.

inline constexpr int kMaxDevicesPerVirtual = 8;
using CommConfig = v10::CommConfig;
using CommAttributes = v11::CommAttributes;
using NetAttributes = v11::NetAttributes;

struct VirtualProperties {
  int ndevs;
  int devs[kMaxDevicesPerVirtual];
};
static_assert(sizeof(VirtualProperties) == 36);

struct Properties {
  char* name;
  char* pciPath;
  uint64_t guid;
  int ptrSupport;
  int regIsGlobal;
  int forceFlush;
  int speed;
  int port;
  float latency;
  int maxComms;
  int maxRecvs;
  int netDeviceType;
  int netDeviceVersion;
  VirtualProperties vProps;
  size_t maxP2pBytes;
  size_t maxCollBytes;
  int maxMultiRequestSize;
  int16_t railId;
  int16_t planeId;
};
static_assert(sizeof(Properties) == 128);
static_assert(offsetof(Properties, speed) == 36);
static_assert(offsetof(Properties, port) == 40);
static_assert(offsetof(Properties, latency) == 44);
static_assert(offsetof(Properties, maxComms) == 48);
static_assert(offsetof(Properties, maxRecvs) == 52);
static_assert(offsetof(Properties, netDeviceType) == 56);
static_assert(offsetof(Properties, vProps) == 64);
static_assert(offsetof(Properties, maxP2pBytes) == 104);
static_assert(offsetof(Properties, railId) == 124);

using Net = v11::NetWith<Properties, VirtualProperties>;
static_assert(sizeof(Net) == 22 * sizeof(void*));

}  // namespace v12

}  // namespace hawser::nccl
