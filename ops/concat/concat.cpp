#include "ops/concat/concat.h"

#include "core/autograd.h"

namespace vitrine::ops {
namespace {

/// One strided copy per input, by the copy kernel of core.
struct Concat {
  static constexpr const char* name = "concat";
  int64_t dim;
  std::vector<int64_t> sizes;
  Attributes attributes() const { return {{"dim", dim}, {"sizes", sizes}}; }

  Tensor forward(Saver&, std::span<const Tensor> xs) const {
    Shape shape = xs[0].shape();
    shape[dim] = 0;
    for (int64_t n : sizes) shape[dim] += n;
    Tensor y = empty(shape, xs[0].options());
    int64_t at = 0;
    for (size_t i = 0; i < xs.size(); at += sizes[i++])
      if (xs[i].numel()) y.narrow(dim, at, sizes[i]).copy_(xs[i]);
    return y;
  }
  // dx_i is the part of dy that x_i filled
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Gradients dxs;
    int64_t at = 0;
    for (size_t i = 0; i < sizes.size(); at += sizes[i++])
      dxs.push_back(saved.needs(i) ? dy.narrow(dim, at, sizes[i]) : Tensor());
    return dxs;
  }
};

/// The tensor of which xs are consecutive parts along `dim`, in one storage; undefined where they lie otherwise.
Tensor whole_of(std::span<const Tensor> xs, int64_t dim) {
  Shape shape = xs[0].shape();
  int64_t end = xs[0].offset();
  for (const Tensor& x : xs) {
    if (!x.shares_storage(xs[0]) || x.dtype() != xs[0].dtype() || x.strides() != xs[0].strides() || x.offset() != end)
      return {};
    end += x.size(dim) * x.stride(dim);
  }
  shape[dim] = xs[0].stride(dim) > 0 ? (end - xs[0].offset()) / xs[0].stride(dim) : 0;
  return shape[dim] ? strided_view(xs[0], xs[0].offset(), shape, xs[0].strides()) : Tensor();
}

/// Views; one node for all parts, so that their gradients are written side by side once, or are there already.
struct Split {
  static constexpr const char* name = "split";
  int64_t dim;
  std::vector<int64_t> sizes;
  Attributes attributes() const { return {{"dim", dim}, {"sizes", sizes}}; }

  std::vector<Tensor> forward(Saver&, const Tensor& x) const {
    std::vector<Tensor> parts;
    int64_t at = 0;
    for (int64_t n : sizes) parts.push_back(x.narrow(dim, at, n)), at += n;
    return parts;
  }
  Gradients vjp(const Saved&, std::span<const Tensor> dys) const {
    const Tensor dx = whole_of(dys, dim);
    return {dx.defined() ? dx : concat(dys, dim)};
  }
};

/// @param except  the dim in which the shapes may differ, -1: none
void check_alike(const char* op, std::span<const Tensor> xs, int64_t except) {
  for (size_t i = 1; i < xs.size(); ++i) {
    const std::string argument = format("x{}", i);
    check_defined(op, argument.c_str(), xs[i]);
    check_same_dtype(op, {{"x0", &xs[0]}, {argument.c_str(), &xs[i]}});
    check_same_device(op, {{"x0", &xs[0]}, {argument.c_str(), &xs[i]}});
    bool same = xs[i].dim() == xs[0].dim();
    for (int64_t d = 0; same && d < xs[0].dim(); ++d) same = d == except || xs[i].size(d) == xs[0].size(d);
    if (except < 0) {
      check(same, "{}: x0 {} and {} {} have different shapes", op, xs[0], argument, xs[i]);
    } else {
      check(same, "{}: x0 {} and {} {} differ outside dim {}", op, xs[0], argument, xs[i], except);
    }
  }
}
void check_first(const char* op, std::span<const Tensor> xs) {
  check<ValueError>(!xs.empty(), "{}: no inputs", op);
  check_defined(op, "x0", xs[0]);
}

}  // namespace

Tensor concat(std::span<const Tensor> xs, int64_t dim) {
  check_first("concat", xs);
  Concat op{check_dim("concat", xs[0], dim), {}};
  check_alike("concat", xs, op.dim);
  for (const Tensor& x : xs) op.sizes.push_back(x.size(op.dim));
  return apply(std::move(op), xs);
}

Tensor stack(std::span<const Tensor> xs, int64_t dim) {
  check_first("stack", xs);
  const int64_t dims = xs[0].dim() + 1;
  check(dim >= -dims && dim < dims, "stack: dim {} is out of range for x0 {}", dim, xs[0]);
  check_alike("stack", xs, -1);
  if (dim < 0) dim += dims;
  std::vector<Tensor> slices;
  for (const Tensor& x : xs) slices.push_back(x.unsqueeze(dim));
  return concat(slices, dim);
}

std::vector<Tensor> split(const Tensor& x, std::span<const int64_t> sizes, int64_t dim) {
  check_defined("split", "x", x);
  dim = check_dim("split", x, dim);
  const auto list = [&] { return AttributeValue(std::vector<int64_t>(sizes.begin(), sizes.end())); };
  int64_t total = 0;
  for (int64_t n : sizes) {
    check(n >= 0, "split: negative size in {}", list());
    total += n;
  }
  check(total == x.size(dim), "split: sizes {} do not add up to dim {} of x {}", list(), dim, x);
  if (sizes.empty()) return {};
  return apply(Split{dim, {sizes.begin(), sizes.end()}}, x);
}

}  // namespace vitrine::ops
