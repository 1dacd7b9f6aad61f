#include "core/strided.h"
#include "ops/bucket_gather/bucket_gather_kernels.h"
#include "ops/relpos/relpos_view.h"

// Ids depend on the query alone, so a task takes some queries and does them for every batch and head.
namespace vitrine::ops {
namespace {

constexpr int64_t kGrain = 1;

/// x's leading dims and its query dim: offsets of row (lead, i).
StridedPlan<1> leading_plan(const Tensor& x) {
  return make_plan<1>(Shape(x.shape().begin(), x.shape().end() - 2),
                      {Shape(x.strides().begin(), x.strides().end() - 2)});
}

void gather(const Tensor& x, const RelposIndex& index, Tensor& y) {
  const RelposView view(index);
  const int64_t queries = index.queries, keys = index.keys, query_stride = x.stride(-2), step = x.stride(-1);
  const auto lead = leading_plan(x);
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(queries, kGrain, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> ids(static_cast<size_t>(keys));
      for (int64_t i = begin; i < end; ++i) {
        view.row(i, ids.data());
        for (int64_t l = 0; l < lead.numel; ++l) {
          int64_t at[1];
          lead.offsets(l, at);
          const T* row = from + at[0] + i * query_stride;
          T* out = to + (l * queries + i) * keys;
          const int32_t* id = ids.data();
          if (step == 1) {
            for (int64_t j = 0; j < keys; ++j) out[j] = row[id[j]];
          } else {
            for (int64_t j = 0; j < keys; ++j) out[j] = row[id[j] * step];
          }
        }
      }
    });
  });
}

/// The keys of each bucket for one query, in ascending order: bucket t has order[start[t]] ... order[start[t + 1] - 1].
struct InverseList {
  std::vector<int32_t> ids, order, start;
  void build(const RelposView& view, int64_t i) {
    ids.resize(size_t(view.keys)), order.resize(size_t(view.keys));
    start.assign(size_t(view.buckets) + 2, 0);
    view.row(i, ids.data());
    for (int32_t id : ids) ++start[size_t(id) + 2];
    for (size_t t = 2; t < start.size(); ++t) start[t] += start[t - 1];
    for (size_t j = 0; j < ids.size(); ++j) order[size_t(start[size_t(ids[j]) + 1]++)] = int32_t(j);
  }
};

void sum(const Tensor& a, const RelposIndex& index, Tensor& y) {
  const RelposView view(index);
  const int64_t queries = index.queries, keys = index.keys, buckets = index.buckets,
                lead = y.numel() / (queries * buckets);
  dispatch_floating(a.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T* from = a.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(queries, kGrain, [&](int64_t begin, int64_t end) {
      InverseList list;
      for (int64_t i = begin; i < end; ++i) {
        list.build(view, i);
        for (int64_t l = 0; l < lead; ++l) {
          const T* row = from + (l * queries + i) * keys;
          T* out = to + (l * queries + i) * buckets;
          for (int64_t t = 0; t < buckets; ++t) {
            A total = 0;
            for (int32_t p = list.start[size_t(t)]; p < list.start[size_t(t) + 1]; ++p)
              total += A(row[list.order[size_t(p)]]);
            out[t] = T(total);
          }
        }
      }
    });
  });
}

const Bind bind_gather(bucket_gather_forward, DeviceType::cpu, gather);
const Bind bind_sum(bucket_sum_forward, DeviceType::cpu, sum);

}  // namespace
}  // namespace vitrine::ops
