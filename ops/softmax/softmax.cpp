#include "ops/softmax/softmax.h"

#include "core/autograd.h"
#include "ops/softmax/softmax_kernels.h"

namespace vitrine::ops {
namespace {

struct Softmax {
  static constexpr const char* name = "softmax";
  int64_t dim;
  Attributes attributes() const { return {{"dim", dim}}; }

  Tensor forward(Saver& save, const Tensor& x) const {
    const Tensor rows = x.transpose(dim, -1).contiguous();
    Tensor y = empty_like(rows);
    softmax_forward(rows, y);
    save(y);
    return y.transpose(dim, -1);
  }
  // dx = y * (dy - sum_k y_k dy_k)
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor& y = saved[0];
    Tensor dx = empty_like(y);
    softmax_backward(y, dy.transpose(dim, -1).contiguous(), dx);
    return {dx.transpose(dim, -1)};
  }
};

struct LogSoftmax {
  static constexpr const char* name = "log_softmax";
  int64_t dim;
  Attributes attributes() const { return {{"dim", dim}}; }

  Tensor forward(Saver& save, const Tensor& x) const {
    const Tensor rows = x.transpose(dim, -1).contiguous();
    Tensor y = empty_like(rows);
    log_softmax_forward(rows, y);
    save(y);
    return y.transpose(dim, -1);
  }
  // dx = dy - exp(y) * sum_k dy_k
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor& y = saved[0];
    Tensor dx = empty_like(y);
    log_softmax_backward(y, dy.transpose(dim, -1).contiguous(), dx);
    return {dx.transpose(dim, -1)};
  }
};

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim) {
  check_floating("softmax", "x", x);
  return apply(Softmax{.dim = check_dim("softmax", x, dim)}, x);
}
Tensor log_softmax(const Tensor& x, int64_t dim) {
  check_floating("log_softmax", "x", x);
  return apply(LogSoftmax{.dim = check_dim("log_softmax", x, dim)}, x);
}

}  // namespace vitrine::ops
