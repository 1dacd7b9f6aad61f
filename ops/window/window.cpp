#include "ops/window/window.h"

#include "core/autograd.h"
#include "ops/window/window_kernels.h"

namespace vitrine::ops {
namespace {

Tensor partition(const Tensor& x, const WindowGrid& g) {
  Tensor y = empty({x.size(0) * g.rows * g.columns, g.size * g.size, g.channels}, x.options());
  if (y.numel()) window_gather(x.contiguous(), g, y);
  return y;
}
Tensor merge(const Tensor& windows, const WindowGrid& g) {
  Tensor x = empty({windows.size(0) / (g.rows * g.columns), g.height, g.width, g.channels}, windows.options());
  if (x.numel()) window_scatter(windows.contiguous(), g, x);
  return x;
}

struct WindowPartition {
  static constexpr const char* name = "window_partition";
  WindowGrid grid;
  Attributes attributes() const { return {{"size", grid.size}, {"shift", grid.shift}}; }

  Tensor forward(Saver&, const Tensor& x) const { return partition(x, grid); }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {merge(dy, grid)}; }
};

struct WindowMerge {
  static constexpr const char* name = "window_merge";
  WindowGrid grid;
  Attributes attributes() const {
    return {{"height", grid.height}, {"width", grid.width}, {"size", grid.size}, {"shift", grid.shift}};
  }

  Tensor forward(Saver&, const Tensor& windows) const { return merge(windows, grid); }
  Gradients vjp(const Saved&, const Tensor& dx) const { return {partition(dx, grid)}; }
};

void check_window(const char* op, int64_t size, int64_t shift) {
  check<ValueError>(size >= 1, "{}: the size of a window must be at least 1, got {}", op, size);
  check<ValueError>(shift >= 0 && shift < size, "{}: shift {} must be in [0, {}), the size of a window", op, shift,
                    size);
}

}  // namespace

Tensor window_partition(const Tensor& x, int64_t size, int64_t shift) {
  constexpr const char* op = "window_partition";
  check_floating(op, "x", x);
  check_window(op, size, shift);
  check(x.dim() == 4 && x.size(1) >= 1 && x.size(2) >= 1, "{}: x {} must be [B, H, W, C] with pixels", op, x);
  return apply(WindowPartition{.grid = {x.size(1), x.size(2), x.size(3), size, shift}}, x);
}

Tensor window_merge(const Tensor& windows, int64_t height, int64_t width, int64_t size, int64_t shift) {
  constexpr const char* op = "window_merge";
  check_floating(op, "windows", windows);
  check_window(op, size, shift);
  check(height >= 1 && width >= 1, "{}: an image of {} x {}", op, height, width);
  check(windows.dim() == 3 && windows.size(1) == size * size, "{}: windows {} must be [N, {}, C], their size being {}",
        op, windows, size * size, size);
  const WindowGrid grid(height, width, windows.size(2), size, shift);
  check(windows.size(0) % (grid.rows * grid.columns) == 0,
        "{}: windows {} are not whole images: one of {} x {} has {} windows of size {}", op, windows, height, width,
        grid.rows * grid.columns, size);
  return apply(WindowMerge{.grid = grid}, windows);
}

}  // namespace vitrine::ops
