#include "core/backend.h"

#include <cstring>
#include <vector>

#include "core/captured_graph.h"
#include "core/error.h"
#include "core/trace.h"

namespace vitrine {
namespace {

const Backend*& slot(DeviceType type) {
  static const Backend* backends[kDeviceTypes] = {};
  return backends[int(type)];
}

}  // namespace

RegisterBackend::RegisterBackend(DeviceType type, const Backend& backend) { slot(type) = &backend; }
const Backend* find_backend(DeviceType type) { return slot(type); }

int cuda_device_count() {
  const Backend* cuda = find_backend(DeviceType::cuda);
  return cuda ? cuda->device_count() : 0;
}

Allocator& allocator(Device device) {
  const Backend* backend = find_backend(device.type);
  check<DeviceError>(backend != nullptr, "device {}: this build has no {} device", device, name_of(device.type));
  const int count = backend->device_count();
  check<DeviceError>(device.index < count, "device {}: this machine has {} of them", device, count);
  return backend->allocator(device.index);
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (bytes == 0) return;
  if (!(to_device == from_device) && (capturing(to_device) || capturing(from_device))) [[unlikely]]
    throw CaptureError(format("{}: {} bytes go from {} to {}, which a replay cannot repeat", trace::outermost_op(),
                              bytes, from_device, to_device));
  if (to_device.type == DeviceType::cpu) {
    find_backend(from_device.type)->copy_bytes(to, from, bytes);
  } else if (from_device.type == DeviceType::cpu || from_device == to_device) {
    find_backend(to_device.type)->copy_bytes(to, from, bytes);
  } else {
    std::vector<std::byte> host(bytes);
    find_backend(from_device.type)->copy_bytes(host.data(), from, bytes);
    find_backend(to_device.type)->copy_bytes(to, host.data(), bytes);
  }
}

void synchronize(Device device) {
  check<CaptureError>(!capturing(device), "{}: waits for {}, whose work is not done but captured",
                      trace::outermost_op(), device);
  if (const Backend* backend = find_backend(device.type)) backend->synchronize();
}

}  // namespace vitrine
