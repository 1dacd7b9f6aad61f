#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "ops/window/window_kernels.h"

// Thread e moves the e-th run of V neighbouring channels of the windows: 16 bytes where the channels and the addresses
// allow, else single elements. Windows hold every token of the images once, so no two threads write one place. No
// barriers.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 256;

template <int V, class T>
__device__ __forceinline__ void copy(const T* from, T* to) {
  if constexpr (V == 1) {
    *to = *from;
  } else {
    cuda::store(to, cuda::load<V>(from));
  }
}

template <class T, int V, bool kToWindows>
__global__ void __launch_bounds__(kBlock) move_kernel(const T* from, T* to, WindowGrid g, int64_t runs) {
  const int64_t e = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (e >= runs) return;
  const int64_t per_token = g.channels / V, token = e / per_token, line = token / g.size, window = line / g.size;
  const int64_t window_row = window / g.columns, b = window_row / g.rows;
  const int64_t y = (window_row - b * g.rows) * g.size + line - window * g.size;
  const int64_t x = (window - window_row * g.columns) * g.size + token - line * g.size;
  const int64_t place = g.in_image(b, y, x), image = place * g.channels + (e - token * per_token) * V;
  if (place >= 0) {
    copy<V>(from + (kToWindows ? image : e * V), to + (kToWindows ? e * V : image));
  } else if (kToWindows) {
    for (int i = 0; i < V; ++i) to[e * V + i] = T(0);
  }
}

template <bool kToWindows>
void move(const char* name, const Tensor& from, const WindowGrid& grid, int64_t elements, Tensor& to) {
  dispatch_floating(from.dtype(), [&]<class T>() {
    constexpr int V = cuda::kPer16<T>;
    const T* source = from.data<T>();
    T* target = to.mutable_data<T>();
    const auto launch = [&](auto kernel, int64_t runs) {
      cuda::launch(name, kernel, {.grid = (runs + kBlock - 1) / kBlock, .block = kBlock}, source, target, grid, runs);
    };
    if (grid.channels % V == 0 && cuda::aligned_to(source, 16) && cuda::aligned_to(target, 16)) {
      launch(move_kernel<T, V, kToWindows>, elements / V);
    } else {
      launch(move_kernel<T, 1, kToWindows>, elements);
    }
  });
}

void gather(const Tensor& images, const WindowGrid& grid, Tensor& windows) {
  move<true>("window_gather", images, grid, windows.numel(), windows);
}
void scatter(const Tensor& windows, const WindowGrid& grid, Tensor& images) {
  move<false>("window_scatter", windows, grid, windows.numel(), images);
}

const Bind bind_gather(window_gather, cuda::kKernelDevice, gather);
const Bind bind_scatter(window_scatter, cuda::kKernelDevice, scatter);

}  // namespace
}  // namespace vitrine::ops
