#include "core/autograd.h"
#include "core/backend.h"
#include "core/kernels/kernels.h"
#include "core/tensor_state.h"

// Views and copies of a Tensor, each with its vjp. A view's output shares storage with its input; the vjp is the
// transposed map.
namespace vitrine {
namespace {

Attributes shape_attribute(const char* name, const Shape& s) {
  return {{name, std::vector<int64_t>(s.begin(), s.end())}};
}

/// Strides that show x's elements in `shape` without moving them, if there are any.
bool view_strides(const Tensor& x, const Shape& shape, Shape& strides) {
  if (x.is_contiguous()) return strides = contiguous_strides(shape), true;
  strides = Shape::filled(shape.size(), 1);
  int64_t to = shape.size() - 1;
  int64_t d = x.dim() - 1;
  while (d >= 0) {
    // A run of x's dims [first, d] that is contiguous within itself must be cut exactly by some of the new dims.
    int64_t run = x.size(d), first = d;
    while (first > 0 && (x.size(first - 1) == 1 || x.stride(first - 1) == x.stride(d) * run)) run *= x.size(--first);
    int64_t covered = 1;
    while (to >= 0 && (covered < run || shape[to] == 1)) {
      strides[to] = covered * x.stride(d);
      covered *= shape[to--];
    }
    if (covered != run) return false;
    d = first - 1;
  }
  return true;
}

Shape infer_size(const char* op, const Tensor& x, Shape shape) {
  int64_t known = 1, missing = -1;
  for (int64_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == -1) {
      check(missing < 0, "{}: more than one -1 in {}", op, shape);
      missing = d;
    } else {
      check(shape[d] >= 0, "{}: negative size in {}", op, shape);
      known *= shape[d];
    }
  }
  if (missing >= 0) {
    check(known > 0 && x.numel() % known == 0, "{}: {} does not fit shape {}", op, x, shape);
    shape[missing] = x.numel() / known;
  }
  check(shape.numel() == x.numel(), "{}: {} does not fit shape {}", op, x, shape);
  return shape;
}

struct View {
  static constexpr const char* name = "view";
  Shape shape, strides, from;
  Attributes attributes() const { return shape_attribute("shape", shape); }
  Tensor forward(Saver&, const Tensor& x) const { return strided_view(x, x.offset(), shape, strides); }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {dy.reshape(from)}; }
};

struct Permute {
  static constexpr const char* name = "permute";
  Shape dims;
  Attributes attributes() const { return shape_attribute("dims", dims); }
  Tensor forward(Saver&, const Tensor& x) const {
    Shape shape, strides;
    for (int64_t d : dims) shape.push_back(x.shape()[d]), strides.push_back(x.strides()[d]);
    return strided_view(x, x.offset(), shape, strides);
  }
  Gradients vjp(const Saved&, const Tensor& dy) const {
    Shape inverse = dims;
    for (int64_t d = 0; d < dims.size(); ++d) inverse[dims[d]] = d;
    return {dy.permute(inverse)};
  }
};

struct Expand {
  static constexpr const char* name = "expand";
  Shape shape, from;
  Attributes attributes() const { return shape_attribute("shape", shape); }
  Tensor forward(Saver&, const Tensor& x) const {
    return strided_view(x, x.offset(), shape, [&] {
      Shape strides = Shape::filled(shape.size(), 0);
      const int64_t lead = shape.size() - x.dim();
      for (int64_t d = 0; d < x.dim(); ++d) strides[lead + d] = x.shape()[d] == shape[lead + d] ? x.strides()[d] : 0;
      return strides;
    }());
  }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {sum_to(dy, from)}; }
};

struct Narrow {
  static constexpr const char* name = "narrow";
  int64_t dim, start, length;
  Shape from;
  Attributes attributes() const { return {{"dim", dim}, {"start", start}, {"length", length}}; }
  Tensor forward(Saver&, const Tensor& x) const {
    Shape shape = x.shape();
    shape[dim] = length;
    return strided_view(x, x.offset() + start * x.strides()[dim], shape, x.strides());
  }
  Gradients vjp(const Saved&, const Tensor& dy) const {
    Tensor dx = zeros(from, dy.options());
    dx.narrow(dim, start, length).copy_(dy);
    return {dx};
  }
};

struct Contiguous {
  static constexpr const char* name = "contiguous";
  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = empty_like(x);
    kernels::copy(x, y);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {dy}; }
};

struct Cast {
  static constexpr const char* name = "cast";
  Dtype to, from;
  Attributes attributes() const { return {{"dtype", to_string(to)}}; }
  Tensor forward(Saver&, const Tensor& x) const {
    Tensor y = empty(x.shape(), {.dtype = to, .device = x.device()});
    kernels::copy(x, y);
    return y;
  }
  Gradients vjp(const Saved&, const Tensor& dy) const {
    if (!is_floating(to)) return {Tensor()};
    return {dy.to(from)};
  }
};

struct Move {
  static constexpr const char* name = "to_device";
  Device to, from;
  Attributes attributes() const { return {{"device", to_string(to)}}; }
  Tensor forward(Saver&, const Tensor& x) const {
    const Tensor dense = x.contiguous();
    Tensor y = empty(x.shape(), {.dtype = x.dtype(), .device = to});
    copy_bytes(y.raw_mutable_data(), to, dense.raw_data(), from, size_t(x.numel() * size_of(x.dtype())));
    return y;
  }
  Gradients vjp(const Saved&, const Tensor& dy) const { return {dy.to(from)}; }
};

}  // namespace

Tensor Tensor::view(const Shape& wanted) const {
  const Shape shape = infer_size("view", *this, wanted);
  Shape strides;
  check(view_strides(*this, shape, strides), "view: {} with strides {} has no view of shape {}; use reshape", *this,
        this->strides(), shape);
  return apply(View{shape, strides, this->shape()}, *this);
}

Tensor Tensor::reshape(const Shape& wanted) const {
  const Shape shape = infer_size("reshape", *this, wanted);
  if (shape == this->shape()) return *this;
  Shape strides;
  if (view_strides(*this, shape, strides)) return apply(View{shape, strides, this->shape()}, *this);
  return contiguous().view(shape);
}

Tensor Tensor::permute(const Shape& wanted) const {
  check(wanted.size() == dim(), "permute: dims {} for x {}", wanted, *this);
  Shape dims, seen = Shape::filled(dim(), 0);
  for (int64_t d : wanted) {
    dims.push_back(check_dim("permute", *this, d));
    check(seen[dims.back()]++ == 0, "permute: dim {} twice in {}", d, wanted);
  }
  return apply(Permute{dims}, *this);
}

Tensor Tensor::transpose(int64_t a, int64_t b) const {
  a = check_dim("transpose", *this, a);
  b = check_dim("transpose", *this, b);
  if (a == b) return *this;
  Shape dims;
  for (int64_t d = 0; d < dim(); ++d) dims.push_back(d == a ? b : d == b ? a : d);
  return apply(Permute{dims}, *this);
}

Tensor Tensor::expand(const Shape& wanted) const {
  const int64_t lead = wanted.size() - dim();
  check(lead >= 0, "expand: {} has more dims than {}", *this, wanted);
  Shape shape = wanted;
  for (int64_t d = 0; d < shape.size(); ++d) {
    const int64_t own = d < lead ? 1 : this->shape()[d - lead];
    if (shape[d] == -1 && d >= lead) shape[d] = own;
    check(shape[d] >= 0 && (own == shape[d] || own == 1), "expand: {} does not expand to {}", *this, wanted);
  }
  if (shape == this->shape()) return *this;
  return apply(Expand{shape, this->shape()}, *this);
}

Tensor Tensor::narrow(int64_t dim, int64_t start, int64_t length) const {
  dim = check_dim("narrow", *this, dim);
  check(start >= 0 && length >= 0 && start <= size(dim) - length,
        "narrow: [{}, {} + {}) is out of range for dim {} of x {}", start, start, length, dim, *this);
  return apply(Narrow{dim, start, length, shape()}, *this);
}

Tensor Tensor::select(int64_t dim, int64_t index) const {
  dim = check_dim("select", *this, dim);
  check(index >= -size(dim) && index < size(dim), "select: index {} is out of range for dim {} of x {}", index, dim,
        *this);
  return narrow(dim, index < 0 ? index + size(dim) : index, 1).squeeze(dim);
}

Tensor Tensor::squeeze(int64_t dim) const {
  dim = check_dim("squeeze", *this, dim);
  check(size(dim) == 1, "squeeze: dim {} of x {} is not 1", dim, *this);
  Shape shape = this->shape(), strides = this->strides();
  shape.erase(dim), strides.erase(dim);
  return apply(View{shape, strides, this->shape()}, *this);
}

Tensor Tensor::unsqueeze(int64_t dim) const {
  const int64_t dims = this->dim();
  check(dim >= -dims - 1 && dim <= dims, "unsqueeze: dim {} is out of range for x {}", dim, *this);
  if (dim < 0) dim += dims + 1;
  Shape shape = this->shape(), strides = this->strides();
  strides.insert(dim, dim < dims ? strides[dim] * shape[dim] : 1);
  shape.insert(dim, 1);
  return apply(View{shape, strides, this->shape()}, *this);
}

Tensor Tensor::flatten(int64_t first, int64_t last) const {
  if (dim() == 0) return reshape({1});
  first = check_dim("flatten", *this, first);
  last = check_dim("flatten", *this, last);
  check(first <= last, "flatten: first dim {} is after last dim {}", first, last);
  Shape shape;
  int64_t merged = 1;
  for (int64_t d = 0; d < dim(); ++d) {
    if (d >= first && d <= last) {
      merged *= size(d);
      if (d == last) shape.push_back(merged);
    } else {
      shape.push_back(size(d));
    }
  }
  return reshape(shape);
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }
Tensor Tensor::clone() const { return apply(Contiguous{}, *this); }
Tensor Tensor::to(Dtype to) const { return to == dtype() ? *this : apply(Cast{to, dtype()}, *this); }
Tensor Tensor::to(Device to) const { return to == device() ? *this : apply(Move{to, device()}, *this); }

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Shape kept = Shape::filled(x.dim(), 1);
  const int64_t lead = x.dim() - shape.size();
  for (int64_t d = 0; d < shape.size(); ++d) kept[lead + d] = shape[d];
  Tensor y = empty(kept, x.options());
  if (y.numel()) kernels::sum_to(x, y);
  return y.view(shape);
}

}  // namespace vitrine
