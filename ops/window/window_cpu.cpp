#include <algorithm>

#include "core/parallel.h"
#include "ops/window/window_kernels.h"

namespace vitrine::ops {
namespace {

/// move(in_windows, in_image) for every token of the windows, row by row of each.
template <class Move>
void for_tokens(const Tensor& windows, const WindowGrid& g, Move move) {
  const int64_t lines = windows.numel() / (g.channels * g.size);
  parallel_for(lines, std::max<int64_t>(1, 16384 / (g.channels * g.size)), [=](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t window = line / g.size, window_row = window / g.columns, b = window_row / g.rows;
      const int64_t y = (window_row - b * g.rows) * g.size + line - window * g.size;
      const int64_t x = (window - window_row * g.columns) * g.size;
      for (int64_t c = 0; c < g.size; ++c) move(line * g.size + c, g.in_image(b, y, x + c));
    }
  });
}

void gather(const Tensor& images, const WindowGrid& g, Tensor& windows) {
  dispatch_floating(images.dtype(), [&]<class T>() {
    const T* from = images.data<T>();
    T* to = windows.mutable_data<T>();
    for_tokens(windows, g, [=, n = g.channels](int64_t window, int64_t image) {
      if (image < 0) {
        std::fill_n(to + window * n, n, T(0));
      } else {
        std::copy_n(from + image * n, n, to + window * n);
      }
    });
  });
}
void scatter(const Tensor& windows, const WindowGrid& g, Tensor& images) {
  dispatch_floating(images.dtype(), [&]<class T>() {
    const T* from = windows.data<T>();
    T* to = images.mutable_data<T>();
    for_tokens(windows, g, [=, n = g.channels](int64_t window, int64_t image) {
      if (image >= 0) std::copy_n(from + window * n, n, to + image * n);
    });
  });
}

const Bind bind_gather(window_gather, DeviceType::cpu, gather);
const Bind bind_scatter(window_scatter, DeviceType::cpu, scatter);

}  // namespace
}  // namespace vitrine::ops
