#include <cmath>

#include "ops/binary/binary.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"
#include "ops/unary/unary.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

ops::CrossEntropyOptions options(const Inputs& in, const Attributes& a) {
  return {.weight = in[2],
          .label_smoothing = a.number("label_smoothing", 0.0),
          .ignore_index = a.integer("ignore_index", -100),
          .reduction = ops::parse_loss_reduction(a.text("reduction", "mean"))};
}

Tensor ids(const std::vector<double>& values, const Shape& shape) {
  return from_vector(values, shape, {.dtype = Dtype::i64});
}

/// The share of every class in each target: one row of C numbers, 0 where the row is ignored.
Tensor shares(const Tensor& logits, const Tensor& target, const ops::CrossEntropyOptions& o) {
  const int64_t n = logits.size(-1);
  if (is_floating(target.dtype()))
    return ops::add(ops::mul(target, 1 - o.label_smoothing), o.label_smoothing / double(n));
  std::vector<double> rows;
  for (double id : target.to_vector())
    for (int64_t c = 0; c < n; ++c)
      rows.push_back(int64_t(id) == o.ignore_index
                         ? 0
                         : o.label_smoothing / double(n) + (c == int64_t(id) ? 1 - o.label_smoothing : 0));
  return from_vector(rows, logits.shape(), logits.options());
}
/// What the mean divides by.
double divisor(const Tensor& logits, const Tensor& target, const ops::CrossEntropyOptions& o) {
  if (is_floating(target.dtype())) return double(logits.numel() / logits.size(-1));
  const std::vector<double> weight = o.weight.defined() ? o.weight.to_vector() : std::vector<double>();
  double sum = 0;
  for (double id : target.to_vector())
    if (int64_t(id) != o.ignore_index) sum += weight.empty() ? 1 : weight[size_t(id)];
  return sum;
}
Outputs plain(const Inputs& in, const Attributes& a) {
  const ops::CrossEntropyOptions o = options(in, a);
  Tensor q = shares(in[0], in[1], o);
  if (o.weight.defined()) q = ops::mul(q, o.weight);
  // A share of 0 takes nothing from a class at -inf.
  const Tensor log_p = ops::clamp(ops::log_softmax(in[0], -1), -1e300, 1e300);
  const Tensor losses = ops::neg(ops::sum(ops::mul(q, log_p), -1));
  if (o.reduction == ops::LossReduction::none) return losses;
  const Tensor total = ops::sum(losses);
  return o.reduction == ops::LossReduction::sum ? total : ops::div(total, divisor(in[0], in[1], o));
}

std::vector<Sample> samples(Maker& m) {
  const Attributes sum{{"reduction", "sum"}}, none{{"reduction", "none"}};
  const Attributes smooth{{"label_smoothing", 0.1}}, smooth_none{{"label_smoothing", 0.1}, {"reduction", "none"}};
  const Tensor weight = m.uniform({7}, 0.5, 2), some = ids({0, -100, 6, 3, -100}, {5});
  return {
      Sample({m.normal({5, 7}), m.integers({5}, 0, 7)}, Attributes{}, "class ids").reduces(35),
      Sample({m.normal({5, 7}), m.integers({5}, 0, 7, Dtype::i32)}, sum, "i32 ids, sum").reduces(35),
      Sample({m.normal({5, 7}), some}, none, "ignored rows, no reduction").reduces(7),
      Sample({m.normal({5, 7}), some, weight}, {{"label_smoothing", 0.2}}, "ignored, weighted, smoothed").reduces(35),
      Sample({m.normal({5, 7}), m.integers({5}, 0, 7), weight}, smooth_none, "weighted, smoothed, no reduction")
          .reduces(7),
      Sample({m.normal({4, 7}), ids({2, 0, 2, 5}, {4})}, {{"ignore_index", 2}, {"label_smoothing", 1.}},
             "a class ignored, smoothing 1")
          .reduces(28),
      Sample({m.normal({2, 3, 197}, 0, 3), m.integers({2, 3}, 0, 197)}, smooth, "row longer than a block")
          .reduces(1200),
      Sample({m.normal({5, 7}), m.uniform({5, 7}, 0, 1)}, Attributes{}, "soft targets").reduces(35),
      Sample({m.normal({5, 7}), m.uniform({5, 7}, 0, 1), weight}, smooth, "soft targets, weighted, smoothed")
          .reduces(35),
      Sample({m.normal({3, 197}, 0, 3), m.uniform({3, 197}, 0, 0.01)}, smooth_none, "soft targets, no reduction")
          .reduces(197),
      Sample({m.normal({7}, 50, 20), ids({4}, {})}, Attributes{}, "one row without a batch").reduces(7),
      Sample({m.normal({600, 2}), m.integers({600}, 0, 2)}, Attributes{}, "more rows than a block").reduces(1200),
      Sample({m.normal({0, 7}), m.integers({0}, 0, 7)}, sum, "no rows, sum"),
      Sample({m.normal({0, 7}), m.integers({0}, 0, 7)}, Attributes{}, "no rows, mean is NaN").values_only(),
      Sample({m.normal({2, 7}), ids({-100, -100}, {2})}, Attributes{}, "all ignored, mean is NaN").values_only(),
      Sample({from_vector({0, -INFINITY, 1}, {1, 3}, {.dtype = Dtype::f64}), ids({2}, {1})}, Attributes{},
             "a class masked by -inf")
          .reduces(3)
          .values_only(),
      Sample({m.with_nan({3, 7}), m.integers({3}, 0, 7)}, none, "NaN in one row").reduces(7).values_only()};
}

const Register cross_entropy_spec(OpSpec{
    .name = "cross_entropy",
    .arguments = {"logits", "target", "weight"},
    .constants = {"weight"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::cross_entropy(in[0], in[1], options(in, a));
    },
    .reference = plain,
    .samples = samples,
    .benches = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({256, 1000}), m.integers({256}, 0, 1000)}, {{"label_smoothing", 0.1}}, "256 x 1000 ids")
                  .bench(8. * 256000, 4. * 256000),
              Sample({m.normal({256, 1000}), m.uniform({256, 1000}, 0, 1)}, Attributes{}, "256 x 1000 soft")
                  .bench(10. * 256000, 8. * 256000)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3}), t = m.integers({2}, 0, 3), w = m.normal({2}),
                   w32 = m.normal({3}).to(Dtype::f32);
      const Tensor bytes = t.to(Dtype::u8), soft32 = x.to(Dtype::f32), there = t.to(Device::emulated());
      const Tensor three = ids({1, 3}, {2}), minus = ids({-1, 0}, {2}), none = m.normal({2, 0});
      return {
          {[t] { ops::cross_entropy(t, t); }, "cross_entropy: logits must be floating, got [2] i64 cpu"},
          {[x] { ops::cross_entropy(x, {}); }, "cross_entropy: target is undefined"},
          {[none, t] { ops::cross_entropy(none, t); },
           "cross_entropy: logits [2, 0] f64 cpu have no classes in their last dim"},
          {[x, bytes] { ops::cross_entropy(x, bytes); },
           "cross_entropy: target must be i64, i32 or floating, got [2] u8 cpu"},
          {[x, soft32] { ops::cross_entropy(x, soft32); },
           "cross_entropy: logits [2, 3] f64 cpu and target [2, 3] f32 cpu have different dtypes"},
          {[x, there] { ops::cross_entropy(x, there); },
           "cross_entropy: logits [2, 3] f64 cpu and target [2] i64 emulated have different devices"},
          {[x, w] { ops::cross_entropy(x, w); },
           "cross_entropy: soft target [2] f64 cpu does not have the shape of logits [2, 3] f64 cpu"},
          {[x] {
             ops::cross_entropy(x, ids({0, 0, 0}, {3}));
           },
           "cross_entropy: target [3] i64 cpu must have the shape [2], that of logits [2, 3] f64 cpu without classes"},
          {[x, t, w] { ops::cross_entropy(x, t, {.weight = w}); },
           "cross_entropy: weight [2] f64 cpu does not match the classes of logits [2, 3] f64 cpu"},
          {[x, t, w32] { ops::cross_entropy(x, t, {.weight = w32}); },
           "cross_entropy: logits [2, 3] f64 cpu and weight [3] f32 cpu have different dtypes"},
          {[x, t] { ops::cross_entropy(x, t, {.label_smoothing = 1.5}); },
           "cross_entropy: label_smoothing must be in [0, 1], got 1.5"},
          {[x, three] { ops::cross_entropy(x, three); },
           "cross_entropy: target 3 of row 1 is not a class of logits [2, 3] f64 cpu and not ignore_index -100"},
          {[x, minus] { ops::cross_entropy(x, minus); },
           "cross_entropy: target -1 of row 0 is not a class of logits [2, 3] f64 cpu and not ignore_index -100"},
          {[] { ops::parse_loss_reduction("average"); }, "reduction must be mean, sum or none, got average"}};
    }});

}  // namespace
}  // namespace vitrine::testing
