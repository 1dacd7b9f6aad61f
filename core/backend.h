#pragma once
#include <cstddef>

#include "core/allocator.h"

namespace vitrine {

/// What the engine needs of a kind of device besides its kernels. The file that implements a device registers one, so
/// nothing switches over devices.
struct Backend {
  int (*device_count)();
  Allocator& (*allocator)(int index);
  /// Copies between this device and host memory, or within it; ordered after queued work, finished on return.
  void (*copy_bytes)(void* to, const void* from, size_t bytes);
  /// Waits until all queued work of the device is done.
  void (*synchronize)();
};

struct RegisterBackend {
  RegisterBackend(DeviceType type, const Backend& backend);
};
/// nullptr if this build has no such kind of device.
const Backend* find_backend(DeviceType type);

/// Copies bytes between any two devices of this build.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes);
/// Waits for the device's queued work; a no-op where work is synchronous.
void synchronize(Device device);

}  // namespace vitrine
