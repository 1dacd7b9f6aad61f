#include "core/cuda/launch.h"
#include "core/cuda/vector.h"
#include "ops/depthwise_conv2d/depthwise_conv2d_kernels.h"

// Neighbouring threads take neighbouring channels, which lie side by side in images, taps and sums. No barriers, no
// shared memory: the taps' overlapping reads meet in the cache.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 128;

/// Thread e makes the e-th V neighbouring elements of y.
template <class T, int V>
__global__ void __launch_bounds__(kBlock)
    apply_kernel(const T* x, const T* taps, const T* bias, bool flipped, T* y, DepthwiseShape s, int64_t packs) {
  using A = accumulate_t<T>;
  const int64_t e = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (e >= packs) return;
  const int64_t per_pixel = s.channels / V, place = e / per_pixel, c = (e - place * per_pixel) * V;
  const int64_t line = place / s.width, w = place - line * s.width, h = line % s.height;
  A sums[V];
#pragma unroll
  for (int n = 0; n < V; ++n) sums[n] = bias ? A(bias[c + n]) : A(0);
  for (int i = 0; i < s.side; ++i) {
    const int64_t down = s.shift(i);
    if (h + down < 0 || h + down >= s.height) continue;
    for (int j = 0; j < s.side; ++j) {
      const int64_t right = s.shift(j);
      if (w + right < 0 || w + right >= s.width) continue;
      const int tap = flipped ? s.taps() - 1 - (i * s.side + j) : i * s.side + j;
      const T* from = x + (place + down * s.width + right) * s.channels + c;
      const T* factors = taps + tap * s.channels + c;
      if constexpr (V == 1) {
        sums[0] += A(*from) * A(*factors);
      } else {
        const auto values = cuda::load<V>(from), factor = cuda::load<V>(factors);
#pragma unroll
        for (int n = 0; n < V; ++n) sums[n] += A(values[n]) * A(factor[n]);
      }
    }
  }
  T* to = y + place * s.channels + c;
  if constexpr (V == 1) {
    *to = T(sums[0]);
  } else {
    cuda::Pack<T, V> pack;
#pragma unroll
    for (int n = 0; n < V; ++n) pack[n] = T(sums[n]);
    cuda::store(to, pack);
  }
}

/// Block (image and tile of channels, tap): each thread sums over the image for its channel, pixel by pixel.
template <class T>
__global__ void __launch_bounds__(kBlock)
    parts_kernel(const T* x, const T* dy, accumulate_t<T>* parts, DepthwiseShape s, int64_t tiles) {
  using A = accumulate_t<T>;
  const int64_t b = blockIdx.x / tiles, c = (blockIdx.x - b * tiles) * kBlock + threadIdx.x;
  if (c >= s.channels) return;
  const int tap = int(blockIdx.y);
  const bool bias = tap == s.taps();
  const int64_t down = bias ? 0 : s.shift(tap / s.side), right = bias ? 0 : s.shift(tap % s.side);
  const InsideRange rows(s.height, down), columns(s.width, right);
  const int64_t image = b * s.height * s.width, away = (down * s.width + right) * s.channels;
  A sum = 0;
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const int64_t at = (image + h * s.width + w) * s.channels + c;
      sum += bias ? A(dy[at]) : A(x[at + away]) * A(dy[at]);
    }
  parts[(b * (s.taps() + 1) + tap) * s.channels + c] = sum;
}

void apply_taps(const Tensor& x, const Tensor& taps, const Tensor& bias, bool flipped, Tensor& y) {
  const DepthwiseShape s(x, taps.size(0));
  dispatch_floating(x.dtype(), [&]<class T>() {
    constexpr int V = cuda::kPer16<T>;
    const T *from = x.data<T>(), *t = taps.data<T>(), *b = bias.defined() ? bias.data<T>() : nullptr;
    T* to = y.mutable_data<T>();
    const auto launch = [&](auto kernel, int64_t packs) {
      cuda::launch("depthwise_conv2d_apply", kernel, {.grid = (packs + kBlock - 1) / kBlock, .block = kBlock}, from, t,
                   b, flipped, to, s, packs);
    };
    const bool aligned = cuda::aligned_to(from, 16) && cuda::aligned_to(t, 16) && cuda::aligned_to(to, 16);
    if (s.channels % V == 0 && aligned) {
      launch(apply_kernel<T, V>, x.numel() / V);
    } else {
      launch(apply_kernel<T, 1>, x.numel());
    }
  });
}

void parts_of(const Tensor& x, const Tensor& dy, Tensor& parts) {
  const DepthwiseShape s(x, parts.size(1) - 1);
  const int64_t tiles = (s.channels + kBlock - 1) / kBlock;
  dispatch_floating(x.dtype(), [&]<class T>() {
    cuda::launch("depthwise_conv2d_parts", parts_kernel<T>,
                 {.grid = {x.size(0) * tiles, s.taps() + 1}, .block = kBlock}, x.data<T>(), dy.data<T>(),
                 parts.mutable_data<accumulate_t<T>>(), s, tiles);
  });
}

const Bind bind_apply(depthwise_conv2d_apply, cuda::kKernelDevice, apply_taps);
const Bind bind_parts(depthwise_conv2d_parts, cuda::kKernelDevice, parts_of);

}  // namespace
}  // namespace vitrine::ops
