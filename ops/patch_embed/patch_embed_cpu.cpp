#include <algorithm>

#include "core/parallel.h"
#include "ops/patch_embed/patch_embed_kernels.h"

namespace vitrine::ops {
namespace {

/// run(in_image, in_patches) for every run of `size` neighbouring elements, patch by patch.
template <class F>
void for_runs(const Tensor& images, int64_t size, F run) {
  if (images.numel() == 0) return;
  const PatchGrid grid(images, size);
  const int64_t patches = images.numel() / grid.patch_length();
  parallel_for(patches, std::max<int64_t>(1, 16384 / grid.patch_length()), [=](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      for (int64_t c = 0; c < grid.channels; ++c) {
        const int64_t first = p * grid.patch_length() + c * size * size, image = grid.in_image(first);
        for (int64_t i = 0; i < size; ++i) run(image + i * grid.row_length(), first + i * size);
      }
  });
}

void forward(const Tensor& images, int64_t size, Tensor& patches) {
  dispatch_floating(images.dtype(), [&]<class T>() {
    const T* from = images.data<T>();
    T* to = patches.mutable_data<T>();
    for_runs(images, size, [=](int64_t image, int64_t patch) { std::copy_n(from + image, size, to + patch); });
  });
}
void backward(const Tensor& patches, int64_t size, Tensor& images) {
  dispatch_floating(images.dtype(), [&]<class T>() {
    const T* from = patches.data<T>();
    T* to = images.mutable_data<T>();
    for_runs(images, size, [=](int64_t image, int64_t patch) { std::copy_n(from + patch, size, to + image); });
  });
}

const Bind bind_forward(patchify_forward, DeviceType::cpu, forward);
const Bind bind_backward(patchify_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
