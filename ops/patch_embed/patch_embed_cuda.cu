#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "ops/patch_embed/patch_embed_kernels.h"

// Thread e moves the e-th run of V neighbouring elements of the patches: 16 bytes where the patch rows and the
// addresses allow, else single elements. No barriers.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 256;

template <class T, int V, bool kToPatches>
__global__ void __launch_bounds__(kBlock) move_kernel(const T* from, T* to, PatchGrid grid, int64_t runs) {
  const int64_t e = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (e >= runs) return;
  const int64_t patch = e * V, image = grid.in_image(patch);
  const int64_t source = kToPatches ? image : patch, target = kToPatches ? patch : image;
  if constexpr (V == 1) {
    to[target] = from[source];
  } else {
    cuda::store(to + target, cuda::load<V>(from + source));
  }
}

template <bool kToPatches>
void move(const char* name, const Tensor& from, const Tensor& images, int64_t size, Tensor& to) {
  const PatchGrid grid(images, size);
  dispatch_floating(from.dtype(), [&]<class T>() {
    constexpr int V = cuda::kPer16<T>;
    const T* source = from.data<T>();
    T* target = to.mutable_data<T>();
    const auto launch = [&](auto kernel, int64_t runs) {
      cuda::launch(name, kernel, {.grid = (runs + kBlock - 1) / kBlock, .block = kBlock}, source, target, grid, runs);
    };
    if (size % V == 0 && cuda::aligned_to(source, 16) && cuda::aligned_to(target, 16)) {
      launch(move_kernel<T, V, kToPatches>, from.numel() / V);
    } else {
      launch(move_kernel<T, 1, kToPatches>, from.numel());
    }
  });
}

void forward(const Tensor& images, int64_t size, Tensor& patches) {
  move<true>("patchify_forward", images, images, size, patches);
}
void backward(const Tensor& patches, int64_t size, Tensor& images) {
  move<false>("patchify_backward", patches, images, size, images);
}

const Bind bind_forward(patchify_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(patchify_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
