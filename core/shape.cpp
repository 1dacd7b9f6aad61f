#include "core/shape.h"

namespace vitrine {

std::string to_string(const Shape& shape) {
  std::string s = "[";
  for (int64_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

Shape contiguous_strides(const Shape& shape) {
  Shape strides = Shape::filled(shape.size(), 1);
  for (int64_t i = shape.size() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<int64_t>(shape[i + 1], 1);
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const int64_t dims = std::max(a.size(), b.size());
  Shape out = Shape::filled(dims, 1);
  for (int64_t i = 1; i <= dims; ++i) {
    const int64_t x = i <= a.size() ? a[a.size() - i] : 1, y = i <= b.size() ? b[b.size() - i] : 1;
    check(x == y || x == 1 || y == 1, "{}: shapes {} and {} do not broadcast", op, a, b);
    out[dims - i] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace vitrine
