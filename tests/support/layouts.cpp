#include "tests/support/layouts.h"

#include <cmath>

#include "core/autograd.h"

namespace vitrine::testing {
namespace {

Tensor surroundings(const Shape& shape, const Tensor& x) {
  return full(shape, is_floating(x.dtype()) ? double(NAN) : 0.0, x.options());
}

Tensor reversed(const Tensor& x) {
  Shape dims;
  for (int64_t d = x.dim() - 1; d >= 0; --d) dims.push_back(d);
  return x.permute(dims).clone().permute(dims);
}

Tensor narrowed(const Tensor& x) {
  Shape larger = x.shape();
  for (int64_t& n : larger) n += 2;
  Tensor window = surroundings(larger, x);
  for (int64_t d = 0; d < x.dim(); ++d) window = window.narrow(d, 1, x.size(d));
  return window.copy_(x);
}

Tensor strided(const Tensor& x) {
  Shape larger = x.shape();
  larger[x.dim() - 1] *= 2;
  Shape strides = contiguous_strides(larger);
  strides[x.dim() - 1] = 2;
  return strided_view(surroundings(larger, x), 0, x.shape(), strides).copy_(x);
}

Tensor shifted(const Tensor& x) {
  return strided_view(surroundings({x.numel() + 1}, x), 1, x.shape(), contiguous_strides(x.shape())).copy_(x);
}

}  // namespace

const char* name_of(Layout layout) {
  constexpr const char* kNames[] = {"reversed", "narrowed", "strided", "offset"};
  return kNames[int(layout)];
}

Tensor with_layout(const Tensor& x, Layout layout) {
  if (!x.defined()) return x;
  const NoGrad no_grad;
  if (x.dim() == 0 || layout == Layout::offset) return shifted(x);
  if (layout == Layout::reversed) return reversed(x);
  return layout == Layout::narrowed ? narrowed(x) : strided(x);
}

Tensor expanded_slice(const Tensor& x) {
  if (!x.defined()) return {};
  const NoGrad no_grad;
  const int64_t last = x.dim() > 1 ? x.dim() - 1 : x.dim();
  for (int64_t d = 0; d < last; ++d)
    if (x.size(d) > 1) return x.narrow(d, 0, 1).expand(x.shape());
  return {};
}

}  // namespace vitrine::testing
