#pragma once
#include "ops/attention/attention_inputs.h"

/// Memory for what attention and the ops that add terms to it return; private to them.
namespace vitrine::ops {

/// An empty tensor of x's shape [B, H, L, D] that lies in memory as [B, L, H, D].
inline Tensor empty_tokens_first(const Tensor& x) {
  return empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).permute({0, 2, 1, 3});
}

/// Whether q, k, v are views of one tensor [B, L, 3, H, D], as a projection makes them.
inline bool are_thirds(const Tensor& q, const Tensor& k, const Tensor& v) {
  if (!q.shares_storage(k) || !q.shares_storage(v) || q.shape() != k.shape() || q.shape() != v.shape()) return false;
  const int64_t heads = q.size(1), tokens = q.size(2), d = q.size(3), third = heads * d;
  const Shape strides{tokens * 3 * third, d, 3 * third, 1};
  return q.strides() == strides && k.strides() == strides && v.strides() == strides &&
         k.offset() - q.offset() == third && v.offset() - k.offset() == third;
}

/// Empty gradients of q, k and v where they are wanted. Those of thirds of a tensor are thirds of one too, so that the
/// gradient of the split is already there (ops::split). Others lie as their input does: contiguous or tokens first.
inline void allocate_gradients(const Tensor& q, const Tensor& k, const Tensor& v, const bool (&wanted)[3],
                               AttentionGradients& d) {
  const Tensor* const inputs[] = {&q, &k, &v};
  Tensor* const gradients[] = {&d.dq, &d.dk, &d.dv};
  Tensor all;
  if (wanted[0] && wanted[1] && wanted[2] && are_thirds(q, k, v))
    all = empty({q.size(0), q.size(2), 3, q.size(1), q.size(3)}, q.options());
  for (int64_t i = 0; i < 3; ++i) {
    if (!wanted[i]) continue;
    const Tensor& x = *inputs[i];
    *gradients[i] = all.defined()       ? all.select(2, i).permute({0, 2, 1, 3})
                    : x.is_contiguous() ? empty_like(x)
                                        : empty_tokens_first(x);
  }
}

}  // namespace vitrine::ops
