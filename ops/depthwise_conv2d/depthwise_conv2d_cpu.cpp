#include "core/parallel.h"
#include "ops/depthwise_conv2d/depthwise_conv2d_kernels.h"

namespace vitrine::ops {
namespace {

constexpr int64_t kChannels = 64;  // neighbours that go through all taps together

/// One pixel, channels [c, c + width) of it.
template <class T, class A>
void pixel(const DepthwiseShape& s, const T* x, const T* taps, const T* bias, bool flipped, int64_t h, int64_t w,
           int64_t c, int64_t width, T* y) {
  A sums[kChannels] = {};
  if (bias)
    for (int64_t n = 0; n < width; ++n) sums[n] = A(bias[c + n]);
  for (int i = 0; i < s.side; ++i) {
    const int64_t row = h + s.shift(i);
    if (row < 0 || row >= s.height) continue;
    for (int j = 0; j < s.side; ++j) {
      const int64_t column = w + s.shift(j);
      if (column < 0 || column >= s.width) continue;
      const int tap = flipped ? s.taps() - 1 - (i * s.side + j) : i * s.side + j;
      const T* from = x + (row * s.width + column) * s.channels + c;
      const T* factor = taps + tap * s.channels + c;
      for (int64_t n = 0; n < width; ++n) sums[n] += A(from[n]) * A(factor[n]);
    }
  }
  T* to = y + (h * s.width + w) * s.channels + c;
  for (int64_t n = 0; n < width; ++n) to[n] = T(sums[n]);
}

void apply_taps(const Tensor& x, const Tensor& taps, const Tensor& bias, bool flipped, Tensor& y) {
  const DepthwiseShape s(x, taps.size(0));
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T *from = x.data<T>(), *t = taps.data<T>(), *b = bias.defined() ? bias.data<T>() : nullptr;
    T* to = y.mutable_data<T>();
    const int64_t row = s.width * s.channels, image = s.height * row;
    parallel_for(x.size(0) * s.height, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row * s.taps())),
                 [=](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) {
                     const int64_t at = r / s.height * image;
                     for (int64_t w = 0; w < s.width; ++w)
                       for (int64_t c = 0; c < s.channels; c += kChannels)
                         pixel<T, accumulate_t<T>>(s, from + at, t, b, flipped, r % s.height, w, c,
                                                   std::min(kChannels, s.channels - c), to + at);
                   }
                 });
  });
}

/// The sums of one image for the channels [c, c + width); x, dy and parts begin at channel c.
template <class T, class A>
void image_parts(const DepthwiseShape& s, const T* x, const T* dy, int64_t width, A* parts) {
  for (int tap = 0; tap <= s.taps(); ++tap) {
    const bool bias = tap == s.taps();
    const int64_t down = bias ? 0 : s.shift(tap / s.side), right = bias ? 0 : s.shift(tap % s.side);
    const InsideRange rows(s.height, down), columns(s.width, right);
    A sums[kChannels] = {};
    for (int64_t h = rows.begin; h < rows.end; ++h)
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const T* d = dy + (h * s.width + w) * s.channels;
        const T* from = x + ((h + down) * s.width + w + right) * s.channels;
        if (bias) {
          for (int64_t n = 0; n < width; ++n) sums[n] += A(d[n]);
        } else {
          for (int64_t n = 0; n < width; ++n) sums[n] += A(from[n]) * A(d[n]);
        }
      }
    std::copy_n(sums, width, parts + tap * s.channels);
  }
}

void parts_of(const Tensor& x, const Tensor& dy, Tensor& parts) {
  const DepthwiseShape s(x, parts.size(1) - 1);
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T *from = x.data<T>(), *d = dy.data<T>();
    A* to = parts.mutable_data<A>();
    const int64_t tiles = (s.channels + kChannels - 1) / kChannels, image = s.height * s.width * s.channels;
    parallel_for(x.size(0) * tiles, 1, [=](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t b = p / tiles, c = p % tiles * kChannels;
        image_parts(s, from + b * image + c, d + b * image + c, std::min(kChannels, s.channels - c),
                    to + b * (s.taps() + 1) * s.channels + c);
      }
    });
  });
}

const Bind bind_apply(depthwise_conv2d_apply, DeviceType::cpu, apply_taps);
const Bind bind_parts(depthwise_conv2d_parts, DeviceType::cpu, parts_of);

}  // namespace
}  // namespace vitrine::ops
