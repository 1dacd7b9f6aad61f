#include <cmath>

#include "core/autograd.h"
#include "ops/multi_tensor/multi_tensor.h"
#include "tests/support/op_spec.h"

/// The functions work in place, so the specs call them on copies and return what was written. The definitions are plain
/// loops in double.
namespace vitrine::testing {
namespace {

using Values = std::vector<double>;

Tensor state_of(const Tensor& x) { return x.to(x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32).detach().clone(); }
Tensor like(const Values& values, const Tensor& x) { return from_vector(values, x.shape(), x.options()); }

/// Learning rate and weight decay of two groups; tensor i of a list is in group i % 2.
constexpr double kSchedule[] = {0.1, 0.05, 0.02, 0.3};
Tensor schedule_on(Device device) {
  return from_vector({kSchedule[0], kSchedule[1], kSchedule[2], kSchedule[3]}, {2, 2},
                     {.dtype = Dtype::f64, .device = device});
}
std::vector<int64_t> groups_of(size_t tensors) {
  std::vector<int64_t> groups;
  for (size_t i = 0; i < tensors; ++i) groups.push_back(int64_t(i % 2));
  return groups;
}

/// The condition of an update, which holds unless the attribute says otherwise.
bool holds(const Attributes& a) { return a.flag("condition", true); }
Tensor condition_of(const Attributes& a, Device device) {
  if (!a.find("condition")) return {};
  return full({}, holds(a), {.dtype = Dtype::boolean, .device = device});
}

/// Inputs of a spec are `width` tensors per parameter; column c is every width-th from c.
std::vector<Tensor> column(const Inputs& in, size_t width, size_t c) {
  std::vector<Tensor> result;
  for (size_t i = c; i < in.size(); i += width)
    if (in[i - c].defined()) result.push_back(in[i]);
  return result;
}
std::vector<std::string> names_for(const std::vector<std::string>& columns) {
  std::vector<std::string> names;
  for (const char* index : {"0", "1", "2"})
    for (const std::string& c : columns) names.push_back(c + index);
  return names;
}

// --- AdamW ---

constexpr double kBeta1 = 0.8, kBeta2 = 0.95, kEps = 1e-3;

Outputs adamw(const Inputs& in, const Attributes& a) {
  const NoGrad no_grad;
  std::vector<Tensor> p, g = column(in, 4, 1), m, v, copies;
  for (const Tensor& x : column(in, 4, 0)) {
    p.push_back(x.detach().clone());
    copies.push_back(copies.size() == 1 ? Tensor() : empty(x.shape(), {.dtype = Dtype::bf16, .device = x.device()}));
  }
  for (const Tensor& x : column(in, 4, 2)) m.push_back(state_of(x));
  for (const Tensor& x : column(in, 4, 3)) v.push_back(state_of(x));
  const Device device = p[0].device();
  Tensor step = full({}, a.number("step"), {.dtype = Dtype::f64, .device = device}), factor;
  if (a.find("factor")) factor = full({}, a.number("factor"), {.dtype = m[0].dtype(), .device = device});
  const std::vector<int64_t> groups = groups_of(p.size());
  ops::adamw_(
      {.params = p, .grads = g, .exp_avg = m, .exp_avg_sq = v, .copies = copies, .groups = groups}, schedule_on(device),
      step,
      {.beta1 = kBeta1, .beta2 = kBeta2, .eps = kEps, .gradient_factor = factor, .condition = condition_of(a, device)});
  Outputs out{step};
  for (size_t i = 0; i < p.size(); ++i) {
    out.insert(out.end(), {p[i], m[i], v[i]});
    if (copies[i].defined() && g[i].defined() && holds(a)) out.push_back(copies[i]);
  }
  return out;
}
Outputs plain_adamw(const Inputs& in, const Attributes& a) {
  const double t = a.number("step") + holds(a), factor = a.number("factor", 1.);
  Outputs out{scalar(t, {.dtype = Dtype::f64})};
  const std::vector<Tensor> ps = column(in, 4, 0);
  for (size_t i = 0; i < ps.size(); ++i) {
    const double lr = kSchedule[2 * (i % 2)], decay = kSchedule[2 * (i % 2) + 1];
    Values p = ps[i].to_vector(), m = in[4 * i + 2].to_vector(), v = in[4 * i + 3].to_vector();
    if (in[4 * i + 1].defined() && holds(a)) {
      const Values g = in[4 * i + 1].to_vector();
      for (size_t k = 0; k < p.size(); ++k) {
        m[k] = kBeta1 * m[k] + (1 - kBeta1) * factor * g[k];
        v[k] = kBeta2 * v[k] + (1 - kBeta2) * std::pow(factor * g[k], 2);
        const double m_hat = m[k] / (1 - std::pow(kBeta1, t)), v_hat = v[k] / (1 - std::pow(kBeta2, t));
        p[k] -= lr * decay * p[k] + lr * m_hat / (std::sqrt(v_hat) + kEps);
      }
    }
    out.insert(out.end(), {like(p, ps[i]), like(m, ps[i]), like(v, ps[i])});
    if (i != 1 && in[4 * i + 1].defined() && holds(a)) out.push_back(like(p, ps[i]).to(Dtype::bf16));
  }
  return out;
}
void add_parameter(Inputs& in, Maker& m, const Shape& shape, bool gradient = true) {
  in.push_back(m.normal(shape));
  in.push_back(gradient ? m.normal(shape) : Tensor());
  in.push_back(m.normal(shape));
  in.push_back(m.uniform(shape, 0.1, 1));
}
std::vector<Sample> adamw_samples(Maker& m) {
  Inputs two, none, gap;
  add_parameter(two, m, {5, 7}), add_parameter(two, m, {197});
  add_parameter(none, m, {0, 3}), add_parameter(none, m, {4});
  add_parameter(gap, m, {6}), add_parameter(gap, m, {}), add_parameter(gap, m, {3}, false);
  Inputs large;
  add_parameter(large, m, {16384 + 197});
  const auto sample = [](Inputs in, Attributes a, const char* label) {
    return Sample(std::move(in), std::move(a), label).values_only();
  };
  return {sample(two, {{"step", 0.}}, "first step, two groups"),
          sample(two, {{"step", 41.}, {"factor", 0.25}}, "later step, gradients scaled"),
          sample(two, {{"step", 41.}, {"condition", true}}, "a condition that holds"),
          sample(two, {{"step", 41.}, {"condition", false}}, "a condition that does not"),
          sample(gap, {{"step", 1.}}, "a scalar and a parameter without gradient"),
          sample(large, {{"step", 3.}}, "longer than a chunk"),
          sample(none, {{"step", 0.}}, "a parameter without elements")};
}

// --- SGD ---

Outputs sgd(const Inputs& in, const Attributes& a) {
  const NoGrad no_grad;
  std::vector<Tensor> p, g = column(in, 3, 1), b;
  for (const Tensor& x : column(in, 3, 0)) p.push_back(x.detach().clone());
  const double momentum = a.number("momentum", 0.);
  if (momentum != 0)
    for (const Tensor& x : column(in, 3, 2)) b.push_back(state_of(x));
  const std::vector<int64_t> groups = groups_of(p.size());
  ops::sgd_({.params = p, .grads = g, .momenta = b, .groups = groups}, schedule_on(p[0].device()),
            {.momentum = momentum, .nesterov = a.flag("nesterov", false), .condition = condition_of(a, p[0].device())});
  Outputs out;
  out.insert(out.end(), p.begin(), p.end());
  out.insert(out.end(), b.begin(), b.end());
  return out;
}
Outputs plain_sgd(const Inputs& in, const Attributes& a) {
  const double momentum = a.number("momentum", 0.);
  Outputs params, momenta;
  const std::vector<Tensor> ps = column(in, 3, 0);
  for (size_t i = 0; i < ps.size(); ++i) {
    const double lr = kSchedule[2 * (i % 2)], decay = kSchedule[2 * (i % 2) + 1];
    Values p = ps[i].to_vector(), b = in[3 * i + 2].to_vector();
    const Values g = in[3 * i + 1].to_vector();
    for (size_t k = 0; holds(a) && k < p.size(); ++k) {
      const double d = g[k] + decay * p[k];
      b[k] = momentum * b[k] + d;
      p[k] -= lr * (momentum == 0 ? d : a.flag("nesterov", false) ? d + momentum * b[k] : b[k]);
    }
    params.push_back(like(p, ps[i])), momenta.push_back(like(b, ps[i]));
  }
  if (momentum != 0) params.insert(params.end(), momenta.begin(), momenta.end());
  return params;
}
std::vector<Sample> sgd_samples(Maker& m) {
  const Inputs two{m.normal({5, 7}), m.normal({5, 7}), m.normal({5, 7}),
                   m.normal({197}),  m.normal({197}),  m.normal({197})};
  const Inputs none{m.normal({0}), m.normal({0}), m.normal({0})};
  return {Sample(two, Attributes{}, "no momentum").values_only(),
          Sample(two, {{"momentum", 0.9}}, "momentum").values_only(),
          Sample(two, {{"momentum", 0.9}, {"nesterov", true}}, "nesterov").values_only(),
          Sample(two, {{"momentum", 0.9}, {"condition", true}}, "a condition that holds").values_only(),
          Sample(two, {{"momentum", 0.9}, {"condition", false}}, "a condition that does not").values_only(),
          Sample(none, {{"momentum", 0.9}}, "no elements").values_only()};
}

// --- Norms and averages ---

double plain_norm(const Inputs& in) {
  double sum = 0;
  for (const Tensor& x : in)
    for (double v : x.defined() ? x.to_vector() : Values()) sum += v * v;
  return std::sqrt(sum);
}
Outputs clipped(const Inputs& in, const Attributes& a) {
  const NoGrad no_grad;
  std::vector<Tensor> copies;
  for (const Tensor& x : in)
    if (x.defined()) copies.push_back(x.detach().clone());
  Outputs out{ops::clip_by_norm_(copies, a.number("max_norm"))};
  out.insert(out.end(), copies.begin(), copies.end());
  return out;
}
Outputs plain_clipped(const Inputs& in, const Attributes& a) {
  const double norm = plain_norm(in), factor = std::min(1., a.number("max_norm") / (norm + 1e-6));
  Outputs out{scalar(norm, {.dtype = Dtype::f64})};
  for (const Tensor& x : in) {
    if (!x.defined()) continue;
    Values v = x.to_vector();
    for (double& e : v) e *= factor;
    out.push_back(like(v, x));
  }
  return out;
}
Outputs ema(const Inputs& in, const Attributes& a) {
  const NoGrad no_grad;
  const std::vector<Tensor> averages{in[0].detach().clone(), in[2].detach().clone()}, values{in[1], in[3]};
  ops::ema_update_(averages, values, a.number("decay"), nullptr, condition_of(a, in[0].device()));
  Outputs out;
  out.insert(out.end(), averages.begin(), averages.end());
  return out;
}
Outputs plain_ema(const Inputs& in, const Attributes& a) {
  Outputs out;
  for (size_t i = 0; i < 4; i += 2) {
    Values average = in[i].to_vector();
    const Values value = in[i + 1].to_vector();
    for (size_t k = 0; holds(a) && k < value.size(); ++k)
      average[k] = a.number("decay") * average[k] + (1 - a.number("decay")) * value[k];
    out.push_back(like(average, in[i]));
  }
  return out;
}

// --- Specs ---

/// Shapes of DeiT-S: 22 million parameters in 152 tensors.
Inputs deit_small(Maker& m, bool positive_last) {
  Inputs in;
  const auto add = [&](const Shape& shape) {
    for (int c = 0; c < 3; ++c) in.push_back(m.uniform(shape, -1, 1));
    in.push_back(m.uniform(shape, positive_last ? 0 : -1, 1));
  };
  add({1, 1, 384}), add({1, 197, 384}), add({384, 3, 16, 16}), add({384});
  for (int block = 0; block < 12; ++block) {
    for (int norm = 0; norm < 4; ++norm) add({384});
    add({1152, 384}), add({1152}), add({384, 384}), add({384}), add({1536, 384}), add({1536}), add({384, 1536}),
        add({384});
  }
  add({384}), add({384}), add({1000, 384}), add({1000});
  return in;
}
constexpr double kDeitSmall = 22050664;

const Register adamw_spec(OpSpec{
    .name = "adamw_",
    .arguments = names_for({"param", "grad", "exp_avg", "exp_avg_sq"}),
    .call = adamw,
    .reference = plain_adamw,
    .samples = adamw_samples,
    .benches = [](Maker& m) -> std::vector<Sample> {
      // In place, so that only the step is timed; in 16 bits the states are cast first, which is timed too.
      const auto step = [](const Inputs& in) -> Outputs {
        const NoGrad no_grad;
        const std::vector<Tensor> p = column(in, 4, 0), g = column(in, 4, 1);
        std::vector<Tensor> v1 = column(in, 4, 2), v2 = column(in, 4, 3);
        for (std::vector<Tensor>* list : {&v1, &v2})
          for (Tensor& x : *list) x = x.to(x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32);
        const Device device = p[0].device();
        Tensor count = full({}, 10, {.dtype = Dtype::f64, .device = device});
        ops::adamw_({.params = p, .grads = g, .exp_avg = v1, .exp_avg_sq = v2},
                    from_vector({1e-4, 0.05}, {1, 2}, {.dtype = Dtype::f64, .device = device}), count);
        return count;
      };
      return {Sample(deit_small(m, true), step, "DeiT-S").values_only().bench(15 * kDeitSmall, 28 * kDeitSmall)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      using List = std::vector<Tensor>;
      const List p{m.normal({3})}, p4{m.normal({4})}, ids{m.integers({3}, 0, 2)}, p32{p[0].to(Dtype::f32)}, none;
      const Tensor schedule = schedule_on(Device::cpu());
      const auto run = [](const List& a, const List& b, const List& c, const Tensor& s,
                          std::vector<int64_t> groups = {}, const Tensor& step = scalar(0, {.dtype = Dtype::f64}),
                          const Tensor& factor = {}) {
        return [=] {
          Tensor t = step;
          ops::adamw_({.params = a, .grads = b, .exp_avg = c, .exp_avg_sq = c, .groups = groups}, s, t,
                      {.gradient_factor = factor});
        };
      };
      const List leaf{p[0].clone().set_requires_grad()}, wide{m.normal({3, 2}).transpose(0, 1)};
      return {{run(none, none, none, schedule), "adamw_: no tensors"},
              {run(ids, ids, ids, schedule), "adamw_: params must be floating, got [3] i64 cpu"},
              {run(p, none, p, schedule), "adamw_: grads has 0 tensors, not 1"},
              {run(p, p, {Tensor()}, schedule), "adamw_: exp_avg[0] is undefined"},
              {run(p, p4, p, schedule), "adamw_: grads[0] [4] f64 cpu does not have the shape of [3] f64 cpu"},
              {run(p, p, p32, schedule), "adamw_: exp_avg[0] [3] f32 cpu must be f64"},
              {run(p, {p[0].to(Device::emulated())}, p, schedule), "adamw_: grads[0] [3] f64 emulated is not on cpu"},
              {run(leaf, p, p, schedule),
               "adamw_: params[0] [3] f64 cpu needs a gradient; change it under NoGrad or work on a copy"},
              {run(wide, wide, wide, schedule), "adamw_: params[0] [2, 3] f64 cpu is not contiguous"},
              {run(p, p, p, p[0]), "adamw_: schedule [3] f64 cpu must be [groups, 2]"},
              {run(p, p, p, schedule.to(Dtype::f32)), "adamw_: schedule [2, 2] f32 cpu must be f64"},
              {run(p, p, p, schedule_on(Device::emulated())), "adamw_: schedule [2, 2] f64 emulated is not on cpu"},
              {run(p, p, p, schedule, {0, 1}), "adamw_: 2 groups for 1 tensors"},
              {run(p, p, p, schedule, {2}), "adamw_: group 2 is not a row of schedule [2, 2] f64 cpu"},
              {run(p, p, p, schedule, {}, p[0]), "adamw_: step [3] f64 cpu must be a scalar f64 cpu"},
              {run(p, p, p, schedule, {}, scalar(0, {.dtype = Dtype::f64}), p[0]),
               "adamw_: gradient_factor [3] f64 cpu must be a scalar f64 cpu"}};
    }});

const Register sgd_spec(OpSpec{
    .name = "sgd_",
    .arguments = names_for({"param", "grad", "momentum"}),
    .call = sgd,
    .reference = plain_sgd,
    .samples = sgd_samples,
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const std::vector<Tensor> p{m.normal({3})};
      const Tensor s = schedule_on(Device::cpu());
      return {{[=] { ops::sgd_({.params = p, .grads = p}, s, {.momentum = 0.9}); }, "sgd_: momentum 0.9 needs momenta"},
              {[=] { ops::sgd_({.params = p, .grads = p}, s, {.nesterov = true}); }, "sgd_: nesterov needs a momentum"},
              {[=] { ops::sgd_({.params = p, .grads = {}}, s); }, "sgd_: grads has 0 tensors, not 1"}};
    }});

const Register norm_spec(OpSpec{
    .name = "global_norm",
    .arguments = {"x0", "x1", "x2"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::global_norm(in); },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      return scalar(plain_norm(in), {.dtype = Dtype::f64});
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({5, 7}), {}, m.normal({197})}, Attributes{}, "one undefined").reduces(232).values_only(),
              Sample({m.normal({16384 + 197})}, Attributes{}, "longer than a chunk").reduces(16581).values_only(),
              Sample({m.normal({0})}, Attributes{}, "no elements: 0").values_only(),
              Sample({from_vector({1, NAN}, {2}, {.dtype = Dtype::f64})}, Attributes{}, "NaN").values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const std::vector<Tensor> none(2), mixed{m.normal({3}), m.normal({3}).to(Dtype::f32)};
      return {{[=] { ops::global_norm(none); }, "global_norm: no tensors"},
              {[=] { ops::global_norm(mixed); }, "global_norm: tensors[1] [3] f32 cpu must be f64"}};
    }});

const Register clip_factor_spec(OpSpec{
    .name = "clip_factor",
    .arguments = {"norm"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      const NoGrad no_grad;
      return ops::clip_factor(in[0], a.number("max_norm"));
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const double f = a.number("max_norm") / (in[0].item() + 1e-6);
      return scalar(f > 1 ? 1 : f, {.dtype = Dtype::f64});
    },
    .samples = [](Maker&) -> std::vector<Sample> {
      const auto norm = [](double value, double max_norm, const char* label) {
        return Sample({scalar(value, {.dtype = Dtype::f64})}, {{"max_norm", max_norm}}, label)
            .only({Dtype::f64, Dtype::f32})
            .values_only();
      };
      return {norm(4, 1, "too long"), norm(0.5, 1, "short enough"), norm(INFINITY, 1, "infinite"), norm(NAN, 1, "NaN")};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2}), one = m.normal({}), half = one.to(Dtype::f16);
      return {{[=] { ops::clip_factor(x, 1); }, "clip_factor: norm [2] f64 cpu must be a scalar"},
              {[=] { ops::clip_factor(half, 1); }, "clip_factor: norm [] f16 cpu must be f32 or f64"},
              {[=] { ops::clip_factor(one, -1); }, "clip_factor: max_norm must not be negative, got -1"}};
    },
    .never_empty = "its argument is a scalar"});

const Register clip_spec(OpSpec{
    .name = "clip_by_norm_",
    .arguments = {"x0", "x1", "x2"},
    .call = clipped,
    .reference = plain_clipped,
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({5, 7}), m.normal({197})}, {{"max_norm", 0.5}}, "too long").reduces(232).values_only(),
              Sample({m.normal({5}), m.normal({3})}, {{"max_norm", 50.}}, "short enough").reduces(8).values_only(),
              Sample({m.normal({0}), m.normal({3})}, {{"max_norm", 1.}}, "one empty").reduces(3).values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const std::vector<Tensor> wide{m.normal({3, 2}).transpose(0, 1)}, p{m.normal({3})};
      return {{[=] { ops::clip_by_norm_(wide, 1); }, "clip_by_norm_: tensors[0] [2, 3] f64 cpu is not contiguous"},
              {[=] { ops::clip_by_norm_(p, -1); }, "clip_factor: max_norm must not be negative, got -1"}};
    }});

const Register ema_spec(OpSpec{
    .name = "ema_update_",
    .arguments = {"average0", "value0", "average1", "value1"},
    .call = ema,
    .reference = plain_ema,
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({5, 7}), m.normal({5, 7}), m.normal({197}), m.normal({197})}, {{"decay", 0.9}},
                     "two tensors")
                  .values_only(),
              Sample({m.normal({5}), m.normal({5}), m.normal({3}), m.normal({3})},
                     {{"decay", 0.9}, {"condition", false}}, "a condition that does not hold")
                  .values_only(),
              Sample({m.normal({0}), m.normal({0}), m.normal({3}), m.normal({3})}, {{"decay", 0.99}}, "one empty")
                  .values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const std::vector<Tensor> p{m.normal({3})}, q{m.normal({4})};
      return {{[=] { ops::ema_update_(p, p, 1.5); }, "ema_update_: decay must be in [0, 1], got 1.5"},
              {[=] { ops::ema_update_(p, q, 0.5); },
               "ema_update_: values[0] [4] f64 cpu does not have the shape of [3] f64 cpu"},
              {[=] { ops::ema_update_(p, p, 0.5, nullptr, p[0]); },
               "ema_update_: condition [3] f64 cpu must be a scalar bool cpu"}};
    }});

const Register both_finite_spec(OpSpec{
    .name = "both_finite",
    .arguments = {"a", "b"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::both_finite(in[0], in[1]); },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      return full({}, std::isfinite(in[0].item()) && std::isfinite(in[1].item()), {.dtype = Dtype::boolean});
    },
    .samples = [](Maker&) -> std::vector<Sample> {
      const auto pair = [](double a, double b, const char* label) {
        const TensorOptions f64{.dtype = Dtype::f64};
        return Sample({scalar(a, f64), scalar(b, f64)}, Attributes{}, label)
            .only({Dtype::f64, Dtype::f32})
            .values_only();
      };
      return {pair(4, -0.5, "both"), pair(NAN, 1, "a is NaN"), pair(1, -INFINITY, "b is infinite"),
              pair(NAN, INFINITY, "neither")};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2}), one = m.normal({}), half = one.to(Dtype::f16);
      return {
          {[=] { ops::both_finite(one, x); }, "both_finite: a [] f64 cpu and b [2] f64 cpu must be scalars"},
          {[=] { ops::both_finite(half, half); }, "both_finite: a [] f16 cpu must be f32 or f64"},
          {[=] { ops::both_finite(one, half); }, "both_finite: a [] f64 cpu and b [] f16 cpu have different dtypes"},
          {[=] { ops::both_finite(one, one.to(Device::emulated())); },
           "both_finite: a [] f64 cpu and b [] f64 emulated have different devices"}};
    },
    .never_empty = "its arguments are scalars"});

}  // namespace
}  // namespace vitrine::testing
