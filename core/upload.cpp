#include "core/upload.h"

#include "core/backend.h"
#include "core/memory_pool.h"
#include "core/trace.h"

namespace vitrine {

Upload::Upload(const Shape& shape, TensorOptions options) {
  {
    const PoolScope scope(pinned_memory(options.device));
    host_ = zeros(shape, {.dtype = options.dtype});
  }
  device_ = options.device == Device::cpu() ? host_ : zeros(shape, options);
}

void Upload::send() {
  if (host_.same_as(device_)) return;
  const trace::OpScope scope("upload");
  // Past copy_bytes, which lets no value of the host into a graph: this one is read anew.
  find_backend(device_.device().type)
      ->copy_bytes(device_.raw_mutable_data(), host_.raw_data(), size_t(host_.numel() * size_of(host_.dtype())));
}

}  // namespace vitrine
