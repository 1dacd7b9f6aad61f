#pragma once
#include <cstddef>
#include <functional>
#include <memory>

#include "core/allocator.h"

namespace vitrine {

/// Work of a device that was recorded, to be queued as often as wanted.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  /// Queues it behind the work that is queued.
  virtual void queue() = 0;
};

/// Copies from page-locked host memory to a device, in order among themselves and beside the device's other work.
class CopyLane {
 public:
  virtual ~CopyLane() = default;
  /// Starts a copy. `from` must stay as it is until the device is done with it.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  /// Copies started from now on begin when the work queued so far is done.
  virtual void wait_for_work() = 0;
  /// Work queued from now on begins when the copies started so far are done.
  virtual void let_work_wait() = 0;
};

/// What a device gives that can record its work. Recording is of the calling thread alone.
struct GraphSupport {
  /// Does `work` as it is, in the place (on the stream) where `record` would record it.
  void (*rehearse)(const std::function<void()>& work);
  /// Records what `work` queues, instead of doing it. @throws CaptureError if the device cannot record it
  std::unique_ptr<RecordedWork> (*record)(const std::function<void()>& work);
  std::unique_ptr<CopyLane> (*copy_lane)();
  /// Page-locked host memory; null: any will do.
  Allocator& (*pinned)() = nullptr;
};

/// What the engine needs of a kind of device besides its kernels. The file that implements a device registers one, so
/// nothing switches over devices.
struct Backend {
  int (*device_count)();
  Allocator& (*allocator)(int index);
  /// Copies between this device and host memory, or within it; ordered after queued work, finished on return. While
  /// this thread records, the copy is recorded instead.
  void (*copy_bytes)(void* to, const void* from, size_t bytes);
  /// Waits until all queued work of the device is done.
  void (*synchronize)();
  const GraphSupport* graphs = nullptr;  ///< null: work runs at once and cannot be recorded
};

struct RegisterBackend {
  RegisterBackend(DeviceType type, const Backend& backend);
};
/// nullptr if this build has no such kind of device.
const Backend* find_backend(DeviceType type);

/// Copies bytes between any two devices of this build. @throws CaptureError between host and device while this thread
/// captures a graph: a replay would repeat what the host now has
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes);
/// Waits for the device's queued work; a no-op where work is synchronous. @throws CaptureError as copy_bytes
void synchronize(Device device);

}  // namespace vitrine
