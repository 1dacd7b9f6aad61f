#include "ops/gather/gather.h"

#include "core/autograd.h"
#include "ops/gather/gather_kernels.h"

namespace vitrine::ops {
namespace {

/// x with `dim` behind all others, as contiguous [R, n]: the form in which each row has its own ids.
Tensor rows_of(const Tensor& x, int64_t dim) {
  const Tensor last = x.transpose(dim, -1).contiguous();
  const int64_t n = x.size(dim);
  return last.view({last.numel() / std::max<int64_t>(n, 1), n});
}
/// The inverse, for a result of `shape`.
Tensor from_rows(const Tensor& rows, Shape shape, int64_t dim) {
  std::swap(shape[dim], shape[shape.size() - 1]);
  return rows.view(shape).transpose(dim, -1);
}
/// The kernels take [R, n, D].
Tensor wide(const Tensor& rows) { return rows.unsqueeze(2); }

struct Gather {
  static constexpr const char* name = "gather";
  int64_t dim;
  Shape from;
  Attributes attributes() const { return {{"dim", dim}}; }

  Tensor forward(Saver& save, const Tensor& x, const Tensor& index) const {
    const Tensor ids = rows_of(index, dim);
    Tensor y = empty(ids.shape(), x.options());
    Tensor out = wide(y);
    if (y.numel()) take_rows(wide(rows_of(x, dim)), ids, out);
    save(index);
    return from_rows(y, index.shape(), dim);
  }
  // dx[index[j]] = sum of dy[j]
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Shape rows = from;
    std::swap(rows[dim], rows[rows.size() - 1]);
    Tensor dx = zeros(rows, dy.options());
    if (dx.numel() && dy.numel()) {
      Tensor out = wide(dx.view({dx.numel() / from[dim], from[dim]}));
      add_rows(rows_of(saved[0], dim), wide(rows_of(dy, dim)), out);
    }
    return {dx.transpose(dim, -1), Tensor()};
  }
};

struct ScatterAdd {
  static constexpr const char* name = "scatter_add";
  int64_t dim;
  Attributes attributes() const { return {{"dim", dim}}; }

  Tensor forward(Saver& save, const Tensor& x, const Tensor& index, const Tensor& src) const {
    Tensor y = x.transpose(dim, -1).clone();
    if (y.numel() && src.numel()) {
      Tensor out = wide(y.view({y.numel() / x.size(dim), x.size(dim)}));
      add_rows(rows_of(index, dim), wide(rows_of(src, dim)), out);
    }
    save(index);
    return y.transpose(dim, -1);
  }
  // dx = dy, dsrc[j] = dy[index[j]]
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    Tensor dsrc;
    if (saved.needs(2)) {
      const Tensor ids = rows_of(saved[0], dim);
      Tensor rows = empty(ids.shape(), dy.options());
      Tensor out = wide(rows);
      if (rows.numel()) take_rows(wide(rows_of(dy, dim)), ids, out);
      dsrc = from_rows(rows, saved[0].shape(), dim);
    }
    return {dy, Tensor(), dsrc};
  }
};

struct IndexSelect {
  static constexpr const char* name = "index_select";
  int64_t dim;
  Shape from;
  Attributes attributes() const { return {{"dim", dim}}; }

  /// [outer, n, inner] for a shape with n in place of from[dim].
  Shape three(int64_t n) const {
    Shape s{1, n, 1};
    for (int64_t d = 0; d < from.size(); ++d)
      if (d != dim) s[d < dim ? 0 : 2] *= from[d];
    return s;
  }
  Tensor forward(Saver& save, const Tensor& x, const Tensor& index) const {
    const int64_t m = index.numel();
    Shape shape = from;
    shape[dim] = m;
    Tensor y = empty(shape, x.options());
    Tensor out = y.view(three(m));
    if (y.numel()) take_rows(x.contiguous().view(three(from[dim])), index.contiguous().view({1, m}), out);
    save(index);
    return y;
  }
  // dx[i] = sum of dy[j] over index[j] = i
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const int64_t m = saved[0].numel();
    Tensor dx = zeros(from, dy.options());
    Tensor out = dx.view(three(from[dim]));
    if (dx.numel() && m) add_rows(saved[0].contiguous().view({1, m}), dy.contiguous().view(three(m)), out);
    return {dx, Tensor()};
  }
};

/// The ids as i64; checked where reading them costs nothing.
Tensor checked_ids(const char* op, const char* argument, const Tensor& x, int64_t dim, const Tensor& index) {
  const Tensor ids = index.to(Dtype::i64).contiguous();
  if (ids.device().type != DeviceType::cpu) return ids;
  const int64_t* id = ids.data<int64_t>();
  const int64_t n = x.size(dim);
  for (int64_t i = 0; i < ids.numel(); ++i) {
    if (id[i] >= 0 && id[i] < n) continue;
    Shape position = ids.shape();
    for (int64_t d = ids.dim() - 1, rest = i; d >= 0; rest /= ids.size(d--)) position[d] = rest % ids.size(d);
    throw ValueError(format("{}: {}{} is {}, out of range for dim {} of x {}", op, argument, position, id[i], dim, x));
  }
  return ids;
}

/// Checks of gather and scatter_add: index has x's shape except along dim. Returns dim in [0, x.dim()).
int64_t check_index(const char* op, const Tensor& x, int64_t dim, const Tensor& index) {
  check_defined(op, "x", x);
  check_integral(op, "index", index);
  check_same_device(op, {{"x", &x}, {"index", &index}});
  dim = check_dim(op, x, dim);
  bool same = index.dim() == x.dim();
  for (int64_t d = 0; same && d < x.dim(); ++d) same = d == dim || index.size(d) == x.size(d);
  check(same, "{}: x {} and index {} differ outside dim {}", op, x, index, dim);
  return dim;
}

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  dim = check_index("gather", x, dim, index);
  return apply(Gather{dim, x.shape()}, x, checked_ids("gather", "index", x, dim, index));
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  check_floating("scatter_add", "x", x);
  check_defined("scatter_add", "src", src);
  dim = check_index("scatter_add", x, dim, index);
  check(src.shape() == index.shape(), "scatter_add: src {} and index {} have different shapes", src, index);
  check_same_dtype("scatter_add", {{"x", &x}, {"src", &src}});
  check_same_device("scatter_add", {{"x", &x}, {"src", &src}});
  return apply(ScatterAdd{dim}, x, checked_ids("scatter_add", "index", x, dim, index), src);
}

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  check_defined("index_select", "x", x);
  check_integral("index_select", "index", index);
  check_same_device("index_select", {{"x", &x}, {"index", &index}});
  dim = check_dim("index_select", x, dim);
  check(index.dim() == 1, "index_select: index must have 1 dim, got {}", index);
  return apply(IndexSelect{dim, x.shape()}, x, checked_ids("index_select", "index", x, dim, index));
}

Tensor embedding(const Tensor& weight, const Tensor& ids) {
  check_defined("embedding", "weight", weight);
  check_integral("embedding", "ids", ids);
  check_same_device("embedding", {{"weight", &weight}, {"ids", &ids}});
  check(weight.dim() == 2, "embedding: weight must be [entries, channels], got {}", weight);
  Shape shape = ids.shape();
  shape.push_back(weight.size(1));
  const Tensor list = checked_ids("embedding", "ids", weight, 0, ids).reshape({ids.numel()});
  return apply(IndexSelect{0, weight.shape()}, weight, list).view(shape);
}

}  // namespace vitrine::ops
