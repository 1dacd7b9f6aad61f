#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/reduce/reduce.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

using ops::Dims;
using Reduce = Tensor (*)(const Tensor& x, const Dims& dims, bool keepdim);

Dims dims_of(const Attributes& a) { return a.find("dims") ? Dims(a.integers("dims")) : Dims(); }
AttributeValue list(std::vector<int64_t> dims) { return dims; }

using Values = std::vector<double>;
/// The result of a reduction from the elements that meet in it, in row-major order.
using Fold = std::function<double(const Values&)>;

/// x's elements sorted into the outputs that they belong to, each folded.
Tensor folded(const Tensor& x, const Attributes& a, const Fold& fold) {
  const Dims dims = dims_of(a);
  Shape reduced = Shape::filled(x.dim(), dims.empty()), result;
  for (int64_t d : dims) reduced[d < 0 ? d + x.dim() : d] = 1;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (!reduced[d] || a.flag("keepdim", false)) result.push_back(reduced[d] ? 1 : x.size(d));
  std::vector<Values> sets(size_t(result.numel()));
  const Values all = x.to_vector();
  for (size_t i = 0; i < all.size(); ++i) {
    int64_t at = 0, step = 1, rest = int64_t(i);
    for (int64_t d = x.dim() - 1; d >= 0; rest /= x.size(d--)) {
      if (reduced[d]) continue;
      at += rest % x.size(d) * step;
      step *= x.size(d);
    }
    sets[size_t(at)].push_back(all[i]);
  }
  Values y;
  for (const Values& set : sets) y.push_back(fold(set));
  return from_vector(y, result, {.dtype = Dtype::f64});
}
OpSpec::Call values(const Fold& fold) {
  return [fold](const Inputs& in, const Attributes& a) -> Outputs { return folded(in[0], a, fold); };
}

double plain_sum(const Values& x) { return std::accumulate(x.begin(), x.end(), 0.); }
double plain_mean(const Values& x) { return plain_sum(x) / double(x.size()); }
double plain_squares(const Values& x, double centre) {
  double sum = 0;
  for (double v : x) sum += (v - centre) * (v - centre);
  return sum;
}
/// Squared deviations from their mean; NaN where there are no more elements than `correction`.
double plain_var(const Values& x, int64_t correction) {
  const double n = double(x.size()) - double(correction);
  return n > 0 ? plain_squares(x, plain_mean(x)) / n : NAN;
}
double plain_norm(const Values& x) { return std::sqrt(plain_squares(x, 0)); }
double plain_logsumexp(const Values& x) {
  long double sum = 0;  // in which exp(1001) is finite
  for (double v : x) sum += std::exp(static_cast<long double>(v));
  return double(std::log(sum));
}
/// The first element that is NaN, else that no other one precedes: `before` is < for a minimum, > for a maximum.
template <class Before>
double first_place(const Values& x, Before before) {
  for (size_t i = 0; i < x.size(); ++i)
    if (std::isnan(x[i])) return double(i);
  size_t best = 0;
  for (size_t i = 1; i < x.size(); ++i)
    if (before(x[i], x[best])) best = i;
  return double(best);
}
double plain_argmax(const Values& x) { return first_place(x, std::greater<double>()); }
double plain_argmin(const Values& x) { return first_place(x, std::less<double>()); }
double plain_max(const Values& x) { return x[size_t(plain_argmax(x))]; }
double plain_min(const Values& x) { return x[size_t(plain_argmin(x))]; }

OpSpec::Call call(Reduce f) {
  return
      [f](const Inputs& in, const Attributes& a) -> Outputs { return f(in[0], dims_of(a), a.flag("keepdim", false)); };
}

/// Samples that every reduction has. `make` draws an input; `nonempty` leaves out empty sets.
std::vector<Sample> shared_samples(const std::function<Tensor(const Shape&)>& make, bool nonempty) {
  std::vector<Sample> samples;
  const auto add = [&](const Shape& shape, Attributes a, const char* label, int64_t k) {
    samples.push_back(Sample({make(shape)}, std::move(a), label).reduces(k));
  };
  add({3, 5}, {}, "all", 15);
  add({3, 5}, {{"dims", list({1})}}, "last dim", 5);
  add({3, 37}, {{"dims", list({0})}}, "first dim", 3);
  add({2, 3, 4}, {{"dims", list({-2})}, {"keepdim", true}}, "middle dim, kept", 3);
  add({2, 3, 4, 5}, {{"dims", list({0, 2})}}, "two dims apart", 8);
  add({2, 3, 4, 5}, {{"dims", list({3, 1})}, {"keepdim", true}}, "two dims apart, kept", 15);
  add({2, 197}, {{"dims", list({1})}}, "row longer than a warp", 197);
  add({1500, 2}, {{"dims", list({0})}}, "long strided rows", 1500);
  add({2, 1100}, {{"dims", list({1})}}, "row longer than a block", 1100);
  add({700, 5}, {{"dims", list({0})}}, "columns in several segments", 700);
  add({1, 4}, {{"dims", list({0})}}, "a dim of size 1", 1);
  add({}, {}, "scalar", 1);
  add({0, 5}, {{"dims", list({1})}}, "no rows", 1);
  if (!nonempty) samples.push_back(Sample({make({3, 0})}, {{"dims", list({1})}}, "empty rows").values_only());
  return samples;
}

Tensor with_nan(Maker& m) {
  std::vector<double> values = m.normal({3, 5}).to_vector();
  values[7] = NAN, values[8] = NAN;
  return from_vector(values, {3, 5}, {.dtype = Dtype::f64});
}
/// Rows with the largest (and smallest) value several times.
Tensor with_ties() { return from_vector({1, 4, 4, -2, -2, 0, 7, 7, 7, 0}, {2, 5}, {.dtype = Dtype::f64}); }

std::vector<Sample> column_benches(Maker& m, double flops_per_element) {
  std::vector<Sample> benches;
  const auto add = [&](const Shape& shape, int64_t dim, const char* label) {
    const double n = double(shape.numel());
    benches.push_back(
        Sample({m.normal(shape).to(Dtype::f32)}, {{"dims", list({dim})}}, label).bench(flops_per_element * n, 4 * n));
  };
  add({8, 197, 384}, -1, "DeiT-S b8 rows");
  add({1576, 384}, 0, "DeiT-S b8 columns");
  add({12608, 1152}, 0, "DeiT-S b64 qkv bias gradient");
  return benches;
}

std::vector<ErrorSample> shared_errors(Maker& m, const char* name, Reduce f) {
  const Tensor x = m.normal({3, 5}), ids = m.integers({3}, 0, 2);
  const std::string op = name;
  return {{[=] { f(x, 2, false); }, op + ": dim 2 is out of range for x [3, 5] f64 cpu"},
          {[=] {
             f(x, {1, -1}, false);
           },
           op + ": dim -1 is given twice for x [3, 5] f64 cpu"},
          {[=] { f(ids, {}, false); }, op + ": x must be floating, got [3] i64 cpu"},
          {[=] { f(Tensor(), {}, false); }, op + ": x is undefined"}};
}

OpSpec sum_like(const char* name, Reduce f, const Fold& fold, double flops) {
  return {.name = name,
          .arguments = {"x"},
          .call = call(f),
          .values = values(fold),
          .samples =
              [](Maker& m) {
                auto samples = shared_samples([&](const Shape& s) { return m.normal(s); }, false);
                samples.push_back(Sample({with_nan(m)}, {{"dims", list({1})}}, "NaN").values_only());
                return samples;
              },
          .benches = [=](Maker& m) { return column_benches(m, flops); },
          .errors = [=](Maker& m) { return shared_errors(m, name, f); }};
}
const Register sum_spec(sum_like("sum", ops::sum, plain_sum, 1));
const Register mean_spec(sum_like("mean", ops::mean, plain_mean, 1));
const Register logsumexp_spec([] {
  OpSpec spec = sum_like("logsumexp", ops::logsumexp, plain_logsumexp, 4);
  spec.samples = [base = spec.samples](Maker& m) {
    auto samples = base(m);
    const double inf = INFINITY;
    const Tensor x = from_vector({-inf, -inf, 1, -inf, inf, 2, 1000, 1001, -1000}, {3, 3}, {.dtype = Dtype::f64});
    samples.push_back(Sample({x}, {{"dims", list({1})}}, "infinities and large values").reduces(3).values_only());
    samples.push_back(
        Sample({full({2, 3}, -inf, {.dtype = Dtype::f64})}, {{"dims", list({1})}}, "all -inf").values_only());
    return samples;
  };
  return spec;
}());
const Register norm_spec([] {
  OpSpec spec = sum_like("norm", ops::norm, plain_norm, 2);
  spec.samples = [base = spec.samples](Maker& m) {
    auto samples = base(m);
    samples.push_back(Sample({zeros({2, 3}, {.dtype = Dtype::f64})}, {{"dims", list({1})}}, "zeros").values_only());
    return samples;
  };
  return spec;
}());

const Register var_spec(OpSpec{
    .name = "var",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::var(in[0], dims_of(a), a.integer("correction", 1), a.flag("keepdim", false));
    },
    .values = [](const Inputs& in, const Attributes& a) -> Outputs {
      return folded(in[0], a, [n = a.integer("correction", 1)](const Values& x) { return plain_var(x, n); });
    },
    .samples =
        [](Maker& m) {
          auto samples = shared_samples([&](const Shape& s) { return m.normal(s, 0.5); }, false);
          for (Sample& s : samples) {
            // The unbiased variance of one element is 0 / 0.
            if (s.label != "scalar" && s.label != "a dim of size 1") continue;
            std::get<Attributes>(s.how).emplace_back("correction", 0);
          }
          samples.push_back(
              Sample({m.normal({4, 5})}, {{"dims", list({1})}, {"correction", 0}}, "correction 0").reduces(5));
          samples.push_back(
              Sample({m.normal({3, 1})}, {{"dims", list({1})}}, "one element, correction 1").values_only());
          samples.push_back(Sample({with_nan(m)}, {{"dims", list({1})}}, "NaN").values_only());
          return samples;
        },
    .benches = [](Maker& m) { return column_benches(m, 4); },
    .errors =
        [](Maker& m) {
          auto errors =
              shared_errors(m, "var", [](const Tensor& x, const Dims& d, bool k) { return ops::var(x, d, 1, k); });
          const Tensor x = m.normal({3});
          errors.push_back({[x] { ops::var(x, {}, 2); }, "var: correction must be 0 or 1, got 2"});
          return errors;
        }});

OpSpec extreme(const char* name, Reduce f, const Fold& fold, bool values_only) {
  return {.name = name,
          .arguments = {"x"},
          .call = call(f),
          .values = values(fold),
          .samples =
              [=](Maker& m) {
                auto samples = shared_samples([&](const Shape& s) { return m.distinct(s, -9, 9); }, true);
                // Neighbours of 1500 values between -9 and 9 are one in bf16: the first of them is a matter of
                // rounding.
                for (Sample& s : samples)
                  if (s.reduction > 500) s = std::move(s).only({Dtype::f64, Dtype::f32});
                samples.push_back(Sample({with_nan(m)}, {{"dims", list({1})}}, "NaN").values_only());
                samples.push_back(Sample({with_ties()}, {{"dims", list({1})}}, "ties").values_only());
                samples.push_back(Sample({with_ties()}, Attributes{}, "ties over all dims").values_only());
                for (Sample& s : samples)
                  if (values_only) s = std::move(s).values_only();
                return samples;
              },
          .benches = [](Maker& m) { return column_benches(m, 1); },
          .errors =
              [=](Maker& m) {
                auto errors = shared_errors(m, name, f);
                const Tensor x = m.normal({4, 0});
                errors.push_back(
                    {[=] { f(x, 1, false); }, std::string(name) + ": x [4, 0] f64 cpu has no elements along dims [1]"});
                return errors;
              }};
}
const Register max_spec(extreme("max", ops::max, plain_max, false));
const Register min_spec(extreme("min", ops::min, plain_min, false));
const Register argmax_spec(extreme("argmax", ops::argmax, plain_argmax, true));
const Register argmin_spec(extreme("argmin", ops::argmin, plain_argmin, true));

}  // namespace
}  // namespace vitrine::testing
