#include "core/elementwise.h"

namespace vitrine {
namespace {

/// Whether x's elements fill one gapless block in some order of its dims, none twice.
bool is_permuted_dense(const Tensor& x) {
  int64_t expected = 1, found = 0;
  const Shape &shape = x.shape(), &strides = x.strides();
  const int64_t dims = std::count_if(shape.begin(), shape.end(), [](int64_t n) { return n != 1; });
  for (bool more = true; more && found < dims;) {
    more = false;
    for (int64_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1 || strides[d] != expected) continue;
      expected *= shape[d], ++found, more = true;
      break;
    }
  }
  return found == dims && x.numel() > 0;
}

}  // namespace

Tensor empty_in_layout_of(const Tensor& x, const Shape& shape, Dtype dtype) {
  Tensor y = empty(shape, {dtype, x.device()});
  if (x.is_contiguous() || !(x.shape() == shape) || !is_permuted_dense(x)) return y;
  return strided_view(y, 0, shape, x.strides());
}

}  // namespace vitrine
