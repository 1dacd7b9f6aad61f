#include "ops/relpos/relpos.h"

#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

namespace vitrine::ops {
namespace {

Tensor table(const std::vector<int32_t>& ids, const Shape& shape) { return from_data<int32_t>(ids, shape); }

RelposIndex grid_index(int64_t height, int64_t width, int64_t skip, int64_t buckets) {
  RelposIndex index;
  index.queries = index.keys = skip + height * width;
  index.height = height, index.width = width, index.skip = skip;
  index.buckets = buckets + (skip > 0);
  return index;
}

/// One table over rows and one over columns: id = f_row(dr) + f_column(dc).
template <class Row, class Column>
void set_separable(RelposIndex& index, Row f_row, Column f_column) {
  std::vector<int32_t> rows, columns;
  for (int64_t d = 1 - index.height; d < index.height; ++d) rows.push_back(int32_t(f_row(d)));
  for (int64_t d = 1 - index.width; d < index.width; ++d) columns.push_back(int32_t(f_column(d)));
  index.row_ids = table(rows, {int64_t(rows.size())});
  index.column_ids = table(columns, {int64_t(columns.size())});
}

/// One table over both offsets.
template <class F>
void set_offsets(RelposIndex& index, F f) {
  std::vector<int32_t> ids;
  for (int64_t dr = 1 - index.height; dr < index.height; ++dr)
    for (int64_t dc = 1 - index.width; dc < index.width; ++dc) ids.push_back(int32_t(f(dr, dc)));
  index.offset_ids = table(ids, {2 * index.height - 1, 2 * index.width - 1});
}

RelposIndex make_irpe(IrpeMethod method, const IrpeFunction& g, int64_t height, int64_t width, int64_t skip) {
  const int64_t b = g.bound(), side = 2 * b + 1;
  const auto zero = [](int64_t) { return int64_t(0); };
  const auto axis = [&](int64_t d) { return g(double(d)) + b; };
  RelposIndex index = grid_index(height, width, skip, method == IrpeMethod::product ? side * side : side);
  switch (method) {
    case IrpeMethod::product:
      set_separable(
          index, [&](int64_t dr) { return axis(dr) * side; }, axis);
      break;
    case IrpeMethod::cross_rows:
      set_separable(index, axis, zero);
      break;
    case IrpeMethod::cross_columns:
      set_separable(index, zero, axis);
      break;
    case IrpeMethod::quantization:
      set_offsets(index, [&](int64_t dr, int64_t dc) { return g(double(dr * dr + dc * dc)) + b; });
      break;
    case IrpeMethod::euclidean:
      // Rounded twice: the distance is taken in f32 and rounded, then goes through g.
      set_offsets(index,
                  [&](int64_t dr, int64_t dc) { return g(std::nearbyint(std::sqrt(float(dr * dr + dc * dc)))) + b; });
      break;
  }
  return index;
}

void check_grid(const char* op, int64_t height, int64_t width, int64_t skip) {
  constexpr int64_t kLargest = 1 << 15;  // ids of the largest grid still fit 32 bits
  check<ValueError>(
      height >= 1 && width >= 1 && skip >= 0 && height <= kLargest && width <= kLargest && skip <= kLargest,
      "{}: height {} and width {} must be in [1, {}] and skip {} in [0, {}]", op, height, width, kLargest, skip,
      kLargest);
}

/// Indices by their arguments. Entries stay for the life of the program: they are small, and modules keep references.
template <class Key, class Make>
const RelposIndex& kept(const Key& key, Make make) {
  static std::mutex mutex;
  static auto& indices = *new std::map<Key, RelposIndex>;
  const std::lock_guard lock(mutex);
  auto found = indices.find(key);
  if (found == indices.end()) found = indices.emplace(key, make()).first;
  return found->second;
}

}  // namespace

IrpeMethod parse_irpe_method(const std::string& name) {
  if (name == "euc" || name == "euclidean") return IrpeMethod::euclidean;
  if (name == "quant" || name == "quantization") return IrpeMethod::quantization;
  if (name == "cross_rows") return IrpeMethod::cross_rows;
  if (name == "cross_cols" || name == "cross_columns") return IrpeMethod::cross_columns;
  if (name == "product") return IrpeMethod::product;
  throw ValueError("relpos: unknown method '" + name +
                   "': write euclidean, quantization, cross_rows, cross_columns or product");
}

IrpeFunction IrpeFunction::of_ratio(double ratio, bool clip) { return {ratio, 2 * ratio, 8 * ratio, clip}; }

int64_t IrpeFunction::operator()(double x) const {
  if (clip) return std::clamp<int64_t>(std::llrint(x), -bound(), bound());
  const float size = float(std::abs(x));
  if (double(size) <= alpha) return std::llrint(x);
  // Each step is stored: a fused multiply-add would round differently from the authors' program.
  volatile float v = size / float(alpha);
  v = std::log(v);
  v = v / float(std::log(gamma / alpha));
  v = v * float(beta - alpha);
  v = v + float(alpha);
  v = std::min(std::nearbyint(v), float(beta));
  return x < 0 ? -int64_t(v) : int64_t(v);
}

Device RelposIndex::device() const {
  return (listed_ids.defined() ? listed_ids : offset_ids.defined() ? offset_ids : row_ids).device();
}

RelposIndex RelposIndex::to(Device device) const {
  RelposIndex moved = *this;
  for (Tensor* t : {&moved.row_ids, &moved.column_ids, &moved.offset_ids, &moved.listed_ids})
    if (t->defined()) *t = t->to(device);
  return moved;
}

Tensor RelposIndex::ids() const {
  if (listed_ids.defined()) return listed_ids.to(Device::cpu()).to(Dtype::i32);
  const RelposIndex host = to(Device::cpu());
  Tensor all = full({queries, keys}, double(buckets - 1), {.dtype = Dtype::i32});
  int32_t* id = all.mutable_data<int32_t>();
  for (int64_t i = skip; i < queries; ++i) {
    for (int64_t j = skip; j < keys; ++j) {
      const int64_t dr = (i - skip) / width - (j - skip) / width + height - 1;
      const int64_t dc = (i - skip) % width - (j - skip) % width + width - 1;
      id[i * keys + j] = offset_ids.defined() ? host.offset_ids.data<int32_t>()[dr * (2 * width - 1) + dc]
                                              : host.row_ids.data<int32_t>()[dr] + host.column_ids.data<int32_t>()[dc];
    }
  }
  return all;
}

const RelposIndex& irpe_index(IrpeMethod method, const IrpeFunction& g, int64_t height, int64_t width, int64_t skip) {
  check_grid("irpe_index", height, width, skip);
  constexpr double kLargestBeta = 1 << 14;
  check<ValueError>(g.alpha > 0 && g.beta >= g.alpha && g.beta <= kLargestBeta && g.gamma > g.alpha,
                    "irpe_index: alpha {}, beta {}, gamma {} must satisfy 0 < alpha <= beta <= {} and alpha < gamma",
                    g.alpha, g.beta, g.gamma, kLargestBeta);
  return kept(std::tuple(method, g.alpha, g.beta, g.gamma, g.clip, height, width, skip),
              [&] { return make_irpe(method, g, height, width, skip); });
}

const RelposIndex& swin_index(int64_t height, int64_t width) {
  check_grid("swin_index", height, width, 0);
  return kept(std::pair(height, width), [&] {
    RelposIndex index = grid_index(height, width, 0, (2 * height - 1) * (2 * width - 1));
    set_separable(
        index, [&](int64_t dr) { return (dr + height - 1) * (2 * width - 1); },
        [&](int64_t dc) { return dc + width - 1; });
    return index;
  });
}

RelposIndex index_from_ids(const Tensor& ids, int64_t buckets) {
  check_defined("index_from_ids", "ids", ids);
  check<DtypeError>(ids.dtype() == Dtype::u8 || ids.dtype() == Dtype::i32,
                    "index_from_ids: ids must be u8 or i32, got {}", ids);
  check(ids.dim() == 2, "index_from_ids: ids {} must be [queries, keys]", ids);
  check<ValueError>(buckets >= 0, "index_from_ids: {} buckets", buckets);
  for (double id : ids.to_vector())
    check<ValueError>(id >= 0 && id < double(buckets), "index_from_ids: id {} of ids {} is outside [0, {})", id, ids,
                      buckets);
  RelposIndex index;
  index.queries = ids.size(0), index.keys = ids.size(1), index.buckets = buckets;
  index.listed_ids = ids.clone();  // a later write to ids is not checked
  return index;
}

Tensor relpos_ids(const std::string& method, const IrpeFunction& function, int64_t height, int64_t width,
                  int64_t skip) {
  if (method == "swin") return swin_index(height, width).ids();
  return irpe_index(parse_irpe_method(method), function, height, width, skip).ids();
}

}  // namespace vitrine::ops
