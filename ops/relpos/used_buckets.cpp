#include "ops/relpos/used_buckets.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "core/memory_pool.h"

namespace vitrine::ops {
namespace {

/// The different values of ids, in order; `ranks` is ids with each one's place among them.
std::vector<int64_t> different(const Tensor& ids, Tensor& ranks) {
  const int32_t* id = ids.data<int32_t>();
  std::vector<int64_t> values(id, id + ids.numel());
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  ranks = empty_like(ids);
  std::transform(id, id + ids.numel(), ranks.mutable_data<int32_t>(), [&](int32_t i) {
    return int32_t(std::lower_bound(values.begin(), values.end(), i) - values.begin());
  });
  return values;
}

RpeUsedIndices make_used(const std::vector<RelposIndex>& indices, Device device) {
  RpeUsedIndices used;
  std::vector<int64_t> ids;
  int64_t all = 0;
  for (const RelposIndex& index : indices) {
    const UsedBuckets part = used_buckets(index);
    used.indices.push_back(part.index.to(device));
    for (int64_t id : part.ids) ids.push_back(all + id);
    all += index.buckets;
  }
  const auto count = int64_t(ids.size());
  if (count == all) return used;
  std::vector<int64_t> places(size_t(all), count);
  for (int64_t t = 0; t < count; ++t) places[size_t(ids[size_t(t)])] = t;
  used.ids = from_data<int64_t>(ids, {count}).to(device), used.places = from_data<int64_t>(places, {all}).to(device);
  return used;
}

}  // namespace

UsedBuckets used_buckets(const RelposIndex& index) {
  UsedBuckets used{index, {}};
  if (index.offset_ids.defined()) {
    used.ids = different(index.offset_ids, used.index.offset_ids);
  } else {
    const auto rows = different(index.row_ids, used.index.row_ids);
    const auto columns = different(index.column_ids, used.index.column_ids);
    for (int64_t row : rows)
      for (int64_t column : columns) used.ids.push_back(row + column);
    int32_t* row_ids = used.index.row_ids.mutable_data<int32_t>();
    for (int64_t m = 0; m < used.index.row_ids.numel(); ++m) row_ids[m] *= int32_t(columns.size());
  }
  if (index.skip > 0) used.ids.push_back(index.buckets - 1);
  used.index.buckets = int64_t(used.ids.size());
  return used;
}

const RpeUsedIndices& rpe_used_indices(const RpeConfig& config, int64_t height, int64_t width, int64_t skip,
                                       Device device) {
  using Key = std::tuple<double, RpeMethod, bool, int64_t, int64_t, int64_t, DeviceType, int>;
  static std::mutex mutex;
  static auto& kept = *new std::map<Key, RpeUsedIndices>;
  const Key key(config.ratio, config.method, config.clip, height, width, skip, device.type, int(device.index));
  const std::lock_guard lock(mutex);
  if (const auto found = kept.find(key); found != kept.end()) return found->second;
  const PoolScope outlives_the_step(nullptr);
  return kept.emplace(key, make_used(rpe_indices(config, height, width, skip, Device::cpu()), device)).first->second;
}

}  // namespace vitrine::ops
