#include "ops/attention/attention.h"

#include <cmath>

#include "core/autograd.h"
#include "core/kernels/kernels.h"
#include "ops/attention/attention_gradients.h"
#include "ops/attention/attention_kernels.h"
#include "ops/binary/operators.h"
#include "ops/compare/compare.h"
#include "ops/dropout/dropout.h"
#include "ops/matmul/matmul.h"
#include "ops/softmax/softmax.h"
#include "ops/where/where.h"

namespace vitrine::ops {
namespace {

Dtype accumulate_dtype(Dtype d) { return d == Dtype::f64 ? Dtype::f64 : Dtype::f32; }

struct Attention {
  static constexpr const char* name = "attention";
  double scale, dropout;
  RandomDraw draw;
  Attributes attributes() const { return {{"scale", scale}, {"dropout", dropout}}; }

  AttentionInputs inputs(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                         const Tensor& mask) const {
    const Shape scores{q.size(0), q.size(1), q.size(2), k.size(2)};
    const auto expanded = [&](const Tensor& x) { return x.defined() ? x.expand(scores) : x; };
    return {q, k, v, expanded(bias), expanded(mask), scale, DropMask(dropout, draw)};
  }

  Tensor forward(Saver& save, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                 const Tensor& mask) const {
    Tensor out = empty_tokens_first(q);
    Tensor lse = empty({q.size(0), q.size(1), q.size(2)}, {accumulate_dtype(q.dtype()), q.device()});
    if (out.numel()) attention_forward(inputs(q, k, v, bias, mask), out, lse);
    save(q, k, v, bias, mask, out, lse);
    return out;
  }
  // delta_i = sum_d dout_id out_id
  // dv_jd   = sum_i z_ij p_ij dout_id
  // ds_ij   = p_ij (z_ij sum_d dout_id v_jd - delta_i)     also the gradient of the bias
  // dq_id   = scale sum_j ds_ij k_jd,  dk_jd = scale sum_i ds_ij q_id
  Gradients vjp(const Saved& saved, const Tensor& dout) const {
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &bias = saved[3], &out = saved[5], &lse = saved[6];
    AttentionGradients d;
    allocate_gradients(q, k, v, {saved.needs(0), saved.needs(1), saved.needs(2)}, d);
    if (bias.defined() && saved.needs(3)) d.dbias = empty({q.size(0), q.size(1), q.size(2), k.size(2)}, q.options());
    if (out.numel()) {
      d.delta = empty_like(lse);
      attention_backward(inputs(q, k, v, bias, saved[4]), out, lse, dout, d);
    } else {
      if (d.dk.defined()) d.dk.zero_();
      if (d.dv.defined()) d.dv.zero_();
    }
    return {d.dq, d.dk, d.dv, d.dbias.defined() ? sum_to(d.dbias, bias.shape()) : Tensor(), Tensor()};
  }
};

/// Throws unless the arguments fit; returns the factor of the logits.
double check_attention(const char* op, const Tensor& q, const Tensor& k, const Tensor& v,
                       const AttentionOptions& options) {
  const Tensor &bias = options.bias, &mask = options.mask;
  check_floating(op, "q", q);
  check_defined(op, "k", k);
  check_defined(op, "v", v);
  check_same_dtype(op, {{"q", &q}, {"k", &k}, {"v", &v}, {"bias", &bias}});
  check_same_device(op, {{"q", &q}, {"k", &k}, {"v", &v}, {"bias", &bias}, {"mask", &mask}});
  check(q.dim() == 4 && k.dim() == 4 && q.size(0) == k.size(0) && q.size(1) == k.size(1) && q.size(3) == k.size(3),
        "{}: q {} and k {} must be [B, H, Lq, D] and [B, H, Lk, D]", op, q, k);
  check(k.shape() == v.shape(), "{}: k {} and v {} must have one shape", op, k, v);
  check(q.size(3) > 0, "{}: q {} has head size 0", op, q);
  const Shape scores{q.size(0), q.size(1), q.size(2), k.size(2)};
  const auto check_broadcast = [&](const char* argument, const Tensor& x) {
    bool fits = x.dim() <= 4;
    for (int64_t d = 1; fits && d <= x.dim(); ++d) fits = x.size(-d) == 1 || x.size(-d) == scores[4 - d];
    check(fits, "{}: {} {} does not broadcast to the scores {} of q {} and k {}", op, argument, x, scores, q, k);
  };
  if (bias.defined()) check_broadcast("bias", bias);
  if (mask.defined()) {
    check<DtypeError>(mask.dtype() == Dtype::boolean, "{}: mask must be bool, got {}", op, mask);
    check_broadcast("mask", mask);
  }
  check<ValueError>(options.dropout >= 0 && options.dropout < 1, "{}: dropout must be in [0, 1), got {}", op,
                    options.dropout);
  return options.scale.value_or(1 / std::sqrt(double(q.size(3))));
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const double scale = check_attention("attention", q, k, v, options);
  return apply(Attention{.scale = scale, .dropout = options.dropout, .draw = options.draw}, q, k, v, options.bias,
               options.mask);
}

AttentionWeights attention_unfused(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const double scale = check_attention("attention_unfused", q, k, v, options);
  Tensor scores = matmul(q, k.transpose(-2, -1)) * scale;
  if (options.bias.defined()) scores = scores + options.bias;
  const Tensor unseen = full({}, -INFINITY, q.options()), zero = zeros({}, q.options());
  if (options.mask.defined()) scores = where(options.mask, scores, unseen);
  // The softmax of a row that sees no key is NaN; the weights 0 take its place, and no gradient passes to it.
  const Tensor seen = ne(scores, unseen);
  const Tensor probabilities = where(seen, softmax(where(seen, scores, unseen), -1), zero);
  const Tensor weights = options.dropout > 0 ? dropout(probabilities, options.dropout, options.draw) : probabilities;
  return {matmul(weights, v), probabilities};
}

}  // namespace vitrine::ops
