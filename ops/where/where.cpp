#include "ops/where/where.h"

#include "core/autograd.h"
#include "core/elementwise.h"
#include "core/kernels/kernels.h"
#include "ops/where/where_kernels.h"

namespace vitrine::ops {
namespace {

struct Where {
  static constexpr const char* name = "where";

  Tensor forward(Saver& save, const Tensor& condition, const Tensor& a, const Tensor& b) const {
    const Shape shape = broadcast_shapes(name, condition.shape(), broadcast_shapes(name, a.shape(), b.shape()));
    Tensor y = empty_in_layout_of(a.shape() == shape ? a : b, shape, a.dtype());
    where_forward(condition, a, b, y);
    save(condition);
    return y;
  }
  // da = condition ? dy : 0, db = condition ? 0 : dy
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const auto side = [&](bool chosen, size_t input) {
      if (!saved.needs(input)) return Tensor();
      Tensor d = empty_in_layout_of(dy, dy.shape(), dy.dtype());
      where_backward(saved[0], dy, chosen, d);
      return sum_to(d, saved.input_shape(input));
    };
    return {Tensor(), side(true, 1), side(false, 2)};
  }
};

}  // namespace

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check_defined("where", "condition", condition);
  check_defined("where", "a", a);
  check_defined("where", "b", b);
  check<DtypeError>(condition.dtype() == Dtype::boolean, "where: condition must be bool, got {}", condition);
  check_same_dtype("where", {{"a", &a}, {"b", &b}});
  check_same_device("where", {{"condition", &condition}, {"a", &a}, {"b", &b}});
  return apply(Where{}, condition, a, b);
}

}  // namespace vitrine::ops
