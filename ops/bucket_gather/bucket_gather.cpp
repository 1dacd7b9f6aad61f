#include "ops/bucket_gather/bucket_gather.h"

#include "core/autograd.h"
#include "ops/bucket_gather/bucket_gather_kernels.h"

namespace vitrine::ops {
namespace {

Tensor with_last(const Tensor& x, int64_t last) {
  Shape shape = x.shape();
  shape[shape.size() - 1] = last;
  return empty(shape, x.options());
}

Tensor gather(const Tensor& x, const RelposIndex& index) {
  Tensor y = with_last(x, index.keys);
  if (y.numel()) bucket_gather_forward(x, index, y);
  return y;
}
Tensor sum(const Tensor& a, const RelposIndex& index) {
  Tensor y = with_last(a, index.buckets);
  if (index.keys == 0) return y.zero_();
  if (y.numel()) bucket_sum_forward(a.contiguous(), index, y);
  return y;
}

struct BucketGather {
  static constexpr const char* name = "bucket_gather";
  RelposIndex index;
  Attributes attributes() const { return {{"buckets", index.buckets}}; }

  Tensor forward(Saver&, const Tensor& x) const { return gather(x, index); }
  // dx[.., i, t] = sum over j with id(i, j) = t of dy[.., i, j]
  Gradients vjp(const Saved&, const Tensor& dy) const { return {sum(dy, index)}; }
};

struct BucketSum {
  static constexpr const char* name = "bucket_sum";
  RelposIndex index;
  Attributes attributes() const { return {{"buckets", index.buckets}}; }

  Tensor forward(Saver&, const Tensor& a) const { return sum(a, index); }
  // da[.., i, j] = dy[.., i, id(i, j)]
  Gradients vjp(const Saved&, const Tensor& dy) const { return {gather(dy, index)}; }
};

void check_index_device(const char* op, const char* argument, const Tensor& x, const RelposIndex& index) {
  check<DeviceError>(x.device() == index.device(), "{}: {} {} and an index on {}; move it with index.to(device)", op,
                     argument, x, index.device());
}
/// index_from_ids, with the op's name on errors about devices.
RelposIndex listed(const char* op, const char* argument, const Tensor& x, const Tensor& ids, int64_t buckets) {
  check_floating(op, argument, x);
  check_defined(op, "ids", ids);
  check_same_device(op, {{argument, &x}, {"ids", &ids}});
  return index_from_ids(ids, buckets);
}

}  // namespace

Tensor bucket_gather(const Tensor& x, const RelposIndex& index) {
  check_floating("bucket_gather", "x", x);
  check(x.dim() >= 2 && x.size(-2) == index.queries && x.size(-1) == index.buckets,
        "bucket_gather: x {} must end in [{} queries, {} buckets]", x, index.queries, index.buckets);
  check_index_device("bucket_gather", "x", x, index);
  return apply(BucketGather{index}, x);
}
Tensor bucket_gather(const Tensor& x, const Tensor& ids) {
  const int64_t buckets = x.defined() && x.dim() ? x.size(-1) : 0;
  return bucket_gather(x, listed("bucket_gather", "x", x, ids, buckets));
}

Tensor bucket_sum(const Tensor& a, const RelposIndex& index) {
  check_floating("bucket_sum", "a", a);
  check(a.dim() >= 2 && a.size(-2) == index.queries && a.size(-1) == index.keys,
        "bucket_sum: a {} must end in [{} queries, {} keys]", a, index.queries, index.keys);
  check_index_device("bucket_sum", "a", a, index);
  return apply(BucketSum{index}, a);
}
Tensor bucket_sum(const Tensor& a, const Tensor& ids, int64_t buckets) {
  return bucket_sum(a, listed("bucket_sum", "a", a, ids, buckets));
}

Tensor table_gather(const Tensor& table, const RelposIndex& index) {
  check_floating("table_gather", "table", table);
  check(table.dim() == 2 && table.size(1) == index.buckets, "table_gather: table {} must be [H, {} buckets]", table,
        index.buckets);
  return bucket_gather(table.unsqueeze(1).expand({table.size(0), index.queries, index.buckets}), index);
}
Tensor table_gather(const Tensor& table, const Tensor& ids) {
  const int64_t buckets = table.defined() && table.dim() ? table.size(-1) : 0;
  return table_gather(table, listed("table_gather", "table", table, ids, buckets));
}

}  // namespace vitrine::ops
