#include "ops/reduce/reduce.h"

#include "core/autograd.h"
#include "core/kernels/kernels.h"
#include "ops/reduce/reduce_kernels.h"

namespace vitrine::ops {
namespace {

/// Which dims are reduced, and both shapes of the result.
struct Plan {
  std::vector<int64_t> dims;
  bool keepdim;
  Shape kept;     ///< x's dims, reduced ones with size 1
  Shape result;   ///< what the caller gets
  int64_t count;  /// elements per output

  Attributes attributes() const { return {{"dims", dims}, {"keepdim", keepdim}}; }
};

Plan make_plan(const char* op, const Tensor& x, const Dims& dims, bool keepdim) {
  check_floating(op, "x", x);
  Plan plan{{}, keepdim, x.shape(), {}, 1};
  Shape reduced = Shape::filled(x.dim(), dims.empty());
  for (int64_t dim : dims) {
    const int64_t d = check_dim(op, x, dim);
    check(!reduced[d], "{}: dim {} is given twice for x {}", op, dim, x);
    reduced[d] = 1;
  }
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (!reduced[d]) {
      plan.result.push_back(x.size(d));
      continue;
    }
    plan.dims.push_back(d);
    plan.count *= x.size(d);
    plan.kept[d] = 1;
    if (keepdim) plan.result.push_back(1);
  }
  return plan;
}

Dtype accumulate_dtype(const Tensor& x) { return x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32; }
Tensor statistic(const Tensor& x, const Plan& plan) {
  return empty(plan.kept, {.dtype = accumulate_dtype(x), .device = x.device()});
}

/// The result in the dtype of x and the shape that the caller asked for.
Tensor finish(const Tensor& y, const Tensor& x, const Plan& plan) { return y.to(x.dtype()).view(plan.result); }

struct Sum {
  static constexpr const char* name = "sum";
  Plan plan;
  Shape from;
  Attributes attributes() const { return plan.attributes(); }

  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = empty(plan.kept, x.options());
    kernels::sum_to(x, y);
    return y.view(plan.result);
  }
  // dx_i = dy
  Gradients vjp(const Saved&, const Tensor& dy) const { return {dy.reshape(plan.kept).expand(from)}; }
};

struct Mean {
  static constexpr const char* name = "mean";
  Plan plan;
  Shape from;
  Attributes attributes() const { return plan.attributes(); }

  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = statistic(x, plan);
    reduce_sum(x, y, 1. / double(plan.count));
    return finish(y, x, plan);
  }
  // dx_i = dy / n
  Gradients vjp(const Saved&, const Tensor& dy) const {
    Tensor dx = dy.reshape(plan.kept).clone();
    dx.mul_(1. / double(plan.count));
    return {dx.expand(from)};
  }
};

struct Var {
  static constexpr const char* name = "var";
  Plan plan;
  int64_t correction;
  Attributes attributes() const {
    Attributes a = plan.attributes();
    a.emplace_back("correction", correction);
    return a;
  }
  double divisor() const { return double(std::max<int64_t>(0, plan.count - correction)); }

  Tensor forward(Saver& save, const Tensor& x) const {
    Tensor m = statistic(x, plan), y = statistic(x, plan);
    reduce_sum(x, m, 1. / double(plan.count));
    reduce_squares(x, m, y, divisor());
    save(x, m);
    return finish(y, x, plan);
  }
  // dx_i = dy * 2 (x_i - m) / (n - correction); how m moves with x_i adds nothing, as sum_i (x_i - m) = 0
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Tensor dx = empty_like(saved[0]);
    reduce_var_backward(saved[0], saved[1], dy.reshape(plan.kept), dx, 2 / divisor());
    return {dx};
  }
};

struct Norm {
  static constexpr const char* name = "norm";
  Plan plan;
  Attributes attributes() const { return plan.attributes(); }

  Tensor forward(Saver& save, const Tensor& x) const {
    Tensor y = statistic(x, plan);
    reduce_norm(x, y);
    save(x, y);
    return finish(y, x, plan);
  }
  // dx_i = dy * x_i / y
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Tensor dx = empty_like(saved[0]);
    reduce_norm_backward(saved[0], saved[1], dy.reshape(plan.kept), dx);
    return {dx};
  }
};

struct LogSumExp {
  static constexpr const char* name = "logsumexp";
  Plan plan;
  Attributes attributes() const { return plan.attributes(); }

  Tensor forward(Saver& save, const Tensor& x) const {
    Tensor m = statistic(x, plan), y = statistic(x, plan);
    reduce_extreme(x, m, 1);
    reduce_logsumexp(x, m, y);
    save(x, y);
    return finish(y, x, plan);
  }
  // dx_i = dy * exp(x_i - y)
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Tensor dx = empty_like(saved[0]);
    reduce_logsumexp_backward(saved[0], saved[1], dy.reshape(plan.kept), dx);
    return {dx};
  }
};

template <int kSign>
struct Extreme {
  static constexpr const char* name = kSign > 0 ? "max" : "min";
  Plan plan;
  Shape from;
  Attributes attributes() const { return plan.attributes(); }

  Tensor forward(Saver& save, const Tensor& x) const {
    Tensor y = statistic(x, plan);
    reduce_extreme(x, y, kSign);
    if (save.on()) {
      Tensor index = empty(plan.kept, {.dtype = Dtype::i64, .device = x.device()});
      reduce_first(x, y, index);
      save(index);
    }
    return finish(y, x, plan);
  }
  // dx_i = dy for the first i with x_i = y, else 0
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Tensor dx = zeros(from, dy.options());
    reduce_extreme_backward(saved[0], dy.reshape(plan.kept), dx);
    return {dx};
  }
};

template <int kSign>
struct ArgExtreme {
  static constexpr const char* name = kSign > 0 ? "argmax" : "argmin";
  Plan plan;
  Attributes attributes() const { return plan.attributes(); }

  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = statistic(x, plan), index = empty(plan.kept, {.dtype = Dtype::i64, .device = x.device()});
    reduce_extreme(x, y, kSign);
    reduce_first(x, y, index);
    return index.view(plan.result);
  }
  Gradients vjp(const Saved&, const Tensor&) const { return {Tensor()}; }
};

Plan nonempty_plan(const char* op, const Tensor& x, const Dims& dims, bool keepdim) {
  Plan plan = make_plan(op, x, dims, keepdim);
  check(plan.count > 0, "{}: x {} has no elements along dims {}", op, x, AttributeValue(plan.dims));
  return plan;
}
template <int kSign>
Tensor extreme(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply(Extreme<kSign>{nonempty_plan(Extreme<kSign>::name, x, dims, keepdim), x.shape()}, x);
}
template <int kSign>
Tensor arg_extreme(const Tensor& x, const Dims& dims, bool keepdim) {
  const Plan plan = nonempty_plan(ArgExtreme<kSign>::name, x, dims, keepdim);
  return apply(ArgExtreme<kSign>{plan}, x.detach());
}

}  // namespace

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  const Plan plan = make_plan("sum", x, dims, keepdim);
  return apply(Sum{plan, x.shape()}, x);
}
Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  const Plan plan = make_plan("mean", x, dims, keepdim);
  return apply(Mean{plan, x.shape()}, x);
}
Tensor var(const Tensor& x, const Dims& dims, int64_t correction, bool keepdim) {
  const Plan plan = make_plan("var", x, dims, keepdim);
  check<ValueError>(correction == 0 || correction == 1, "var: correction must be 0 or 1, got {}", correction);
  return apply(Var{plan, correction}, x);
}
Tensor norm(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply(Norm{make_plan("norm", x, dims, keepdim)}, x);
}
Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply(LogSumExp{make_plan("logsumexp", x, dims, keepdim)}, x);
}
Tensor max(const Tensor& x, const Dims& dims, bool keepdim) { return extreme<1>(x, dims, keepdim); }
Tensor min(const Tensor& x, const Dims& dims, bool keepdim) { return extreme<-1>(x, dims, keepdim); }
Tensor argmax(const Tensor& x, const Dims& dims, bool keepdim) { return arg_extreme<1>(x, dims, keepdim); }
Tensor argmin(const Tensor& x, const Dims& dims, bool keepdim) { return arg_extreme<-1>(x, dims, keepdim); }

}  // namespace vitrine::ops
