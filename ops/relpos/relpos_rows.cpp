#include "ops/relpos/relpos_rows.h"

#include <map>
#include <mutex>

namespace vitrine::ops {

template <class A>
RelposRows<A>::RelposRows(const RelposIndex& index, bool mirrored)
    : height_(index.height),
      width_(index.width),
      skip_(index.skip),
      buckets_(index.buckets),
      padded_width_((width_ + kLanes - 1) / kLanes * kLanes),
      padded_keys_(height_ * padded_width_ + (skip_ + kLanes - 1) / kLanes * kLanes),
      run_rows_(wide() ? 1 : height_) {
  const int64_t h = height_, w = width_, strip = 2 * h - 1, offsets = 2 * w - 1;
  // m = key row - query row + h - 1, n = key column - query column + w - 1: places in the index's tables, which hold
  // query minus key, unless mirrored.
  const auto row_place = [&](int64_t m) { return mirrored ? m : strip - 1 - m; };
  const auto column_place = [&](int64_t n) { return mirrored ? n : offsets - 1 - n; };
  for (int64_t cell = 0; cell < h * w; ++cell) cells_.push_back({int32_t(cell / w), int32_t(cell % w)});
  const bool is_separable = !index.offset_ids.defined();
  const int32_t* both = is_separable ? nullptr : index.offset_ids.data<int32_t>();
  const auto id = [&](int64_t m, int64_t n) {
    return is_separable
               ? index.row_ids.data<int32_t>()[row_place(m)] + index.column_ids.data<int32_t>()[column_place(n)]
               : both[row_place(m) * offsets + column_place(n)];
  };
  if (wide()) {
    for (int64_t m = 0; m < strip; ++m)
      for (int64_t n = 0; n < offsets; ++n) strips_.push_back(id(m, n));
    return;
  }
  std::vector<int32_t> column_ids(size_t(w), 0);
  if (is_separable) {
    std::vector<int32_t> all;
    for (int64_t n = 0; n < offsets; ++n) all.push_back(index.column_ids.data<int32_t>()[column_place(n)]);
    find_slices(all.data());
  }
  starts_.push_back(0);
  for (int64_t m = 0; is_separable && m < strip; ++m) row_ids_.push_back(index.row_ids.data<int32_t>()[row_place(m)]);
  strips_.reserve(size_t(w * strip * w));
  for (int64_t qc = 0; qc < w; ++qc) {
    const int64_t first = w - 1 - qc;
    if (is_separable) {
      for (int64_t kc = 0; kc < w; ++kc)
        column_ids[size_t(kc)] = index.column_ids.data<int32_t>()[column_place(first + kc)];
      add_pieces(column_ids.data());
    }
    for (int64_t m = 0; m < strip; ++m)
      for (int64_t kc = 0; kc < w; ++kc) strips_.push_back(id(m, first + kc));
  }
  if (is_separable && w <= kMostVectors * kLanes) find_segments();
}

template <class A>
void RelposRows<A>::add_pieces(const int32_t* ids) {
  for (int64_t c = 0; c < width_; ++c) {
    const int32_t lane = int32_t(c % kLanes);
    if (lane == 0 || ids[c] != ids[c - 1]) pieces_.push_back({ids[c], lane, lane, 0, ids[c] * padded_keys_});
    pieces_.back().last = lane + 1;
    pieces_.back().lanes |= 1u << lane;
    if (lane == kLanes - 1 || c == width_ - 1) starts_.push_back(int(pieces_.size()));
  }
}

template <class A>
void RelposRows<A>::pad_keys(const A* x, A* to) const {
  // Vectors, as a row of the grid is too short for a call of memcpy. A part of one is padded with zeros.
  const auto pad = [](const A* from, int64_t n, A* row) {
    for (int64_t c = 0; c < n; c += kLanes)
      simd::store(row + c, simd::load_first(from + c, int(std::min(kLanes, n - c))));
  };
  for (int64_t r = 0; r < height_; ++r) pad(x + skip_ + r * width_, width_, to + r * padded_width_);
  pad(x, skip_, to + height_ * padded_width_);
}

template <class A>
void RelposRows<A>::unpad_keys(const A* x, A* to) const {
  const auto unpad = [](const A* row, int64_t n, A* y) {
    for (int64_t c = 0; c < n; c += kLanes) simd::store_first(y + c, simd::load(row + c), int(std::min(kLanes, n - c)));
  };
  for (int64_t r = 0; r < height_; ++r) unpad(x + r * padded_width_, width_, to + skip_ + r * width_);
  unpad(x + height_ * padded_width_, skip_, to);
}

template <class A>
std::shared_ptr<const RelposRowsPair<A>> relpos_rows(const RelposIndex& index) {
  using Key = std::vector<int64_t>;
  struct Kept {
    std::shared_ptr<const RelposRowsPair<A>> rows;
    uint64_t last_use;
  };
  static std::mutex mutex;
  static auto& kept = *new std::map<Key, Kept>;
  static uint64_t uses = 0;
  Key key{index.height, index.width, index.skip, index.buckets};
  for (const Tensor* ids : {&index.row_ids, &index.column_ids, &index.offset_ids}) {
    key.push_back(ids->defined());
    if (ids->defined()) key.insert(key.end(), ids->data<int32_t>(), ids->data<int32_t>() + ids->numel());
  }
  const std::lock_guard lock(mutex);
  auto found = kept.find(key);
  if (found == kept.end()) {
    const auto older = [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; };
    if (kept.size() >= kMostKept) kept.erase(std::min_element(kept.begin(), kept.end(), older));
    const RelposRowsPair<A> rows{RelposRows<A>(index), RelposRows<A>(index, true)};
    found = kept.emplace(std::move(key), Kept{std::make_shared<const RelposRowsPair<A>>(rows), 0}).first;
  }
  found->second.last_use = ++uses;
  return found->second.rows;
}

template class RelposRows<float>;
template class RelposRows<double>;
template std::shared_ptr<const RelposRowsPair<float>> relpos_rows(const RelposIndex& index);
template std::shared_ptr<const RelposRowsPair<double>> relpos_rows(const RelposIndex& index);

}  // namespace vitrine::ops
