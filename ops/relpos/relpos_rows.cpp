#include "ops/relpos/relpos_rows.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace vitrine::ops {
namespace {

/// f(n) with n as a constant if it is one of 1, ..., kMost, else as a number: loops of n rounds are then unrolled, and
/// their masks and addresses stay in registers.
template <int kMost, class F>
void with_constant(int n, F f) {
  if constexpr (kMost == 0) {
    f(n);
  } else {
    if (n == kMost) return f(std::integral_constant<int, kMost>());
    with_constant<kMost - 1>(n, f);
  }
}
constexpr int kUnrolled = 7;  // pieces of product and cross at ratio 1.9, the published one

}  // namespace

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

/// Sums of neighbouring row ids must not meet in put_segments, which goes through these ids upwards.
template <class A>
void RelposRows<A>::find_segments() {
  if constexpr (std::is_same_v<A, float> && kLanes >= 8) {
    int32_t closest = INT32_MAX;
    for (size_t m = 1; m < row_ids_.size(); ++m) {
      const int32_t apart = row_ids_[m] - row_ids_[m - 1];
      if (row_ids_.front() > row_ids_.back() ? apart > 0 : apart < 0) return;
      if (apart != 0) closest = std::min(closest, std::abs(apart));
    }
    const int64_t vectors = padded_width_ / kLanes;
    std::vector<Segments> all(static_cast<size_t>(width_ * vectors));
    for (int64_t column = 0; column < width_; ++column) {
      const auto first = pieces_.begin() + starts_[size_t(column * vectors)];
      const auto last = pieces_.begin() + starts_[size_t((column + 1) * vectors)];
      const auto [least, most] =
          std::minmax_element(first, last, [](const Piece& x, const Piece& y) { return x.id < y.id; });
      if (most->id - least->id >= std::min<int32_t>(kLanes, closest)) return;
      for (int64_t v = 0; v < vectors; ++v) {
        const size_t at = size_t(column * vectors + v);
        Segments& to = all[at];
        to.first_id = least->id;
        to.order.fill(-1);
        for (Choice& within : to.within) within.fill(-1);
        for (auto piece = pieces_.begin() + starts_[at]; piece != pieces_.begin() + starts_[at + 1]; ++piece) {
          int32_t& place = to.order[size_t(piece->id - to.first_id)];
          if (place >= 0) return;  // two pieces of one id
          place = piece->first;
          for (int k = 0, behind = 1; behind < piece->last - piece->first; ++k, behind *= 2) {
            for (int32_t lane = piece->first; lane + behind < piece->last; ++lane)
              to.within[size_t(k)][size_t(lane)] = lane + behind;
            steps_ = std::max(steps_, k + 1);
          }
        }
      }
    }
    segments_ = std::move(all);
  }
}

namespace {

/// v's first lanes to p, of which there are `room`, or more than lanes. (AMD's processors take long for a masked store
/// of AVX2.)
template <class A>
void store_within(A* p, simd::Vec<A> v, int64_t room) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  if (kLanes == 8 && room >= kLanes) return simd::store(p, v);
  simd::store_first(p, v, int(std::min(kLanes, room)));
}

}  // namespace

template <class A>
void RelposRows<A>::put_sums(int64_t i, const A* x, A* sums) const {
  for (int64_t t = 0; t < buckets_; t += kLanes)  // vectors, as a call of memset costs more than a few buckets
    store_within(sums + t, simd::Vec<A>{}, buckets_ - t);
  if (i < skip_ || segments_.empty()) return add_sums(i, x, sums);
  if constexpr (std::is_same_v<A, float>) {
    with_constant<4>(steps_, [&](auto steps) {
      with_constant<kMostVectors>(int(padded_width_ / kLanes),
                                  [&](auto vectors) { put_segments(i - skip_, x + skip_, sums, steps, vectors); });
    });
    A extra = 0;
    for (int64_t j = 0; j < skip_; ++j) extra += x[j];
    if (skip_ > 0) sums[buckets_ - 1] = extra;  // not +=, which would wait for the vectors before it
  }
}

/// Grid rows with one row id are added up as vectors first; then each piece. Sums are stored a vector at a time, from
/// the lowest row id up: the zeros behind those of one are where those of the next come, and nothing is read back.
template <class A>
template <class Steps, class Vectors>
void RelposRows<A>::put_segments(int64_t cell, const A* x, A* sums, Steps steps, Vectors vectors) const {
  using Choices = std::array<simd::Vec<int32_t>, size_t(kMostVectors)>;  // copies: stores could change the members
  const Segments* how = segments_.data() + cells_[size_t(cell)].column * vectors;
  std::array<Choices, 4> within;
  Choices order;
  for (int v = 0; v < vectors; ++v) {
    order[size_t(v)] = simd::load(how[v].order.data());
    for (int k = 0; k < steps; ++k) within[size_t(k)][size_t(v)] = simd::load(how[v].within[size_t(k)].data());
  }
  const int32_t* row_id = row_ids(cell);
  const bool down = row_id[0] > row_id[height_ - 1];
  const int64_t step = down ? -1 : 1, width = width_, first = how->first_id, buckets = buckets_;
  const int32_t* id = row_id + (down ? height_ - 1 : 0);
  const A* row = x + (down ? height_ - 1 : 0) * width;
  const auto read = [&](const A* from, int v) {
    const int64_t n = width - v * kLanes;
    return kLanes == 8 && n >= kLanes ? simd::load(from + v * kLanes)
                                      : simd::load_first(from + v * kLanes, int(std::min(kLanes, n)));
  };
  for (int64_t left = height_; left > 0;) {
    const int32_t of_run = *id;
    std::array<simd::Vec<A>, size_t(kMostVectors)> all;
    for (int v = 0; v < vectors; ++v) all[size_t(v)] = read(row, v);
    for (--left, id += step, row += step * width; left > 0 && *id == of_run; --left, id += step, row += step * width)
      for (int v = 0; v < vectors; ++v) all[size_t(v)] += read(row, v);
    simd::Vec<A> total{};
    for (int v = 0; v < vectors; ++v) {
      auto sum = all[size_t(v)];
      for (int k = 0; k < steps; ++k) sum += simd::choose(sum, within[size_t(k)][size_t(v)]);
      const auto ordered = simd::choose(sum, order[size_t(v)]);
      total = v == 0 ? ordered : total + ordered;
    }
    const int64_t at = of_run + first;
    store_within(sums + at, total, buckets - at);
  }
}

/// Where a vector of keys meets two grid rows at most, and the ids of a grid row differ by less than its lanes.
/// (AVX-512 reads the whole table from registers: core/lookup.h.)
template <class A>
void RelposRows<A>::find_slices(const int32_t* column_ids) {
  if constexpr (std::is_same_v<A, float> && kLanes == 8) {
    const auto [least, most] = std::minmax_element(column_ids, column_ids + 2 * width_ - 1);
    if (wide() || width_ < kLanes - 1 || skip_ >= kLanes || skip_ > width_ || *most - *least >= kLanes) return;
    slices_.first = *least, slices_.span = *most - *least + 1;
    for (int64_t column = 0; column < width_; ++column)
      for (int64_t c = 0; c < width_ + kLanes; ++c)
        slices_.ids.push_back(column_ids[width_ - 1 - column + c % width_] - slices_.first);
    for (int64_t j = 0; j < keys(); j += kLanes) {
      const int64_t row = j < skip_ ? -1 : (j - skip_) / width_;
      slices_.steps.push_back({int32_t(row), int32_t(std::min(row + 1, height_ - 1)),
                               int32_t(j < skip_ ? width_ - skip_ + j : (j - skip_) % width_)});
    }
  }
}

template <class A>
void RelposRows<A>::add_slices(int64_t cell, const A* table, A* y) const {
  if constexpr (std::is_same_v<A, float> && kLanes == 8) {
    static constexpr std::array<int32_t, 16> kFrom8 = [] {
      std::array<int32_t, 16> lanes{};
      std::fill_n(lanes.begin() + 8, 8, -1);
      return lanes;
    }();
    const int64_t width = width_, count = int64_t(slices_.steps.size());
    const int32_t *row_id = row_ids(cell), *ids = slices_.ids.data() + cells_[size_t(cell)].column * (width + kLanes);
    const A *of_first = table + slices_.first, extra = table[buckets_ - 1];
    const int span = slices_.span;
    const auto* step = slices_.steps.data();
    const auto looked_up = [&](simd::Vec<int32_t> id, int32_t row) {
      return simd::choose(simd::load_first(of_first + row_id[row], span), id);
    };
    const auto sum = [&](const A* before) {
      const auto id = simd::load(ids + step->column);
      const auto upper = step->upper < 0 ? simd::broadcast(extra) : looked_up(id, step->upper);
      const auto is_lower = simd::load(kFrom8.data() + std::max<int64_t>(0, kLanes - width + step->column));
      return simd::load(before) + (is_lower ? looked_up(id, step->lower) : upper);
    };
    for (int64_t j = 1; j < count; ++j, ++step, y += kLanes) simd::store(y, sum(y));
    const auto last = sum(y);
    const int left = int(keys() - (count - 1) * kLanes);
    simd::store(y, simd::lanes_below<A>(left) ? last : simd::load(y));
  }
}

namespace {

/// sums[ids_j] += x_j. Neighbours often share an id, and an addition waits for the one before it to the same place:
/// four parts of the row take turns, each with its own sums, where these are few.
template <class A>
void add_listed_sums(const int32_t* ids, int64_t n, int64_t buckets, const A* x, A* sums) {
  constexpr int64_t kParts = 4, kMost = 128;
  const int64_t part = buckets <= kMost && 2 * buckets <= n ? n / kParts : 0;
  if (part > 0) {
    std::array<A, size_t(kParts * kMost)> each;
    std::fill_n(each.begin(), kParts * buckets, A(0));
    A* const to = each.data();
    for (int64_t j = 0; j < part; ++j)
      for (int64_t p = 0; p < kParts; ++p) to[p * buckets + ids[p * part + j]] += x[p * part + j];
    for (int64_t t = 0; t < buckets; ++t)
      sums[t] += (to[t] + to[buckets + t]) + (to[2 * buckets + t] + to[3 * buckets + t]);
  }
  for (int64_t j = kParts * part; j < n; ++j) sums[ids[j]] += x[j];
}

}  // namespace

template <class A>
void RelposRows<A>::add_sums(int64_t i, const A* x, A* sums) const {
  const int64_t extra = i < skip_ ? keys() : skip_;
  for (int64_t j = 0; j < extra; ++j) sums[buckets_ - 1] += x[j];
  if (i < skip_) return;
  if (separable()) return add_separable_sums(i - skip_, x + skip_, sums);
  x += skip_;
  for (int64_t r = 0; r < height_; r += run_rows_, x += run_rows_ * width_)
    add_listed_sums(window(i, r), run_rows_ * width_, buckets_, x, sums);
}

/// Grid rows with one row id are added up as vectors first; then the columns of each piece go into the buckets, side by
/// side for all those row ids.
template <class A>
void RelposRows<A>::add_separable_sums(int64_t cell, const A* x, A* sums) const {
  constexpr int kRuns = 16;
  const int32_t* row_id = row_ids(cell);
  for (int64_t c = 0; c < width_; c += kLanes) {
    const int n = int(std::min(kLanes, width_ - c));
    const Pieces all = pieces(cell, c / kLanes);
    for (int64_t r = 0; r < height_;) {
      std::array<A, size_t(kRuns * kLanes)> columns;
      std::array<int32_t, kRuns> base;
      int runs = 0;
      for (; runs < kRuns && r < height_; ++runs) {
        const int32_t id = base[size_t(runs)] = row_id[r];
        auto sum = simd::load_first(x + r * width_ + c, n);
        for (++r; r < height_ && row_id[r] == id; ++r) sum += simd::load_first(x + r * width_ + c, n);
        simd::store(columns.data() + runs * kLanes, sum);
      }
      with_constant<kUnrolled>(runs, [&](auto count) {
        for (int p = 0; p < all.count; ++p) {
          const Piece& piece = all.list[p];
          std::array<A, kRuns> total;
          for (int run = 0; run < count; ++run) total[size_t(run)] = columns[size_t(run * kLanes + piece.first)];
          for (int k = piece.first + 1; k < piece.last; ++k)
            for (int run = 0; run < count; ++run) total[size_t(run)] += columns[size_t(run * kLanes + k)];
          for (int run = 0; run < count; ++run) sums[base[size_t(run)] + piece.id] += total[size_t(run)];
        }
      });
    }
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

/// Pieces as local values, which stores of numbers cannot change; the loops copy their bounds for the same reason.
template <class A>
struct RelposRows<A>::Places {
  std::array<int64_t, size_t(kLanes)> row;
  std::array<simd::Lanes<A>, size_t(kLanes)> lanes;
  template <class Count>
  Places(Pieces all, Count count) {
    for (int p = 0; p < count; ++p)
      row[size_t(p)] = all.list[p].row, lanes[size_t(p)] = simd::lanes_of<A>(all.list[p].lanes);
  }
};

template <class A>
void RelposRows<A>::add_columns(int64_t i, const A* table, A* y) const {
  const A* extra = table + (buckets_ - 1) * padded_keys_;
  for (int64_t j = 0; j < skip_; ++j) y[j] += extra[height_ * padded_width_ + j];
  y += skip_;
  if (i < skip_ || !separable()) {
    for (int64_t r = 0; r < height_; ++r) {
      const int32_t* id = i < skip_ ? nullptr : window(i, r);
      for (int64_t c = 0; c < width_; ++c) *y++ += (id ? table + *id++ * padded_keys_ : extra)[r * padded_width_ + c];
    }
    return;
  }
  const int32_t* row_id = row_ids(i - skip_);
  for (int64_t c = 0; c < width_; c += kLanes) {
    const int n = int(std::min(kLanes, width_ - c));
    const Pieces all = pieces(i - skip_, c / kLanes);
    with_constant<kMostPieces>(all.count, [&](auto count) {
      const int64_t height = height_, width = width_, of_bucket = padded_keys_, of_row = padded_width_;
      const Places places(all, count);
      const A* of_c = table + c;
      A* row = y + c;
      auto next = simd::load_first(row, n);
      for (int64_t r = 0; r < height; ++r, row += width, of_c += of_row) {
        // The next row is read before this one is written: a load would wait for the masked store before it.
        auto sum = next;
        if (r + 1 < height) next = simd::load_first(row + width, n);
        const A* from = of_c + row_id[r] * of_bucket;
        for (int p = 0; p < count; ++p)
          sum += simd::keep<A>(simd::load(from + places.row[size_t(p)]), places.lanes[size_t(p)]);
        simd::store_first(row, sum, n);
      }
    });
  }
}

template <class A>
void RelposRows<A>::add_column_sums(int64_t i, const A* x, A* sums) const {
  A* extra = sums + (buckets_ - 1) * padded_keys_;
  for (int64_t j = 0; j < skip_; ++j) extra[height_ * padded_width_ + j] += x[j];
  x += skip_;
  if (i < skip_ || !separable()) {
    for (int64_t r = 0; r < height_; ++r) {
      const int32_t* id = i < skip_ ? nullptr : window(i, r);
      for (int64_t c = 0; c < width_; ++c) (id ? sums + *id++ * padded_keys_ : extra)[r * padded_width_ + c] += *x++;
    }
    return;
  }
  const int32_t* row_id = row_ids(i - skip_);
  for (int64_t c = 0; c < width_; c += kLanes) {
    const int n = int(std::min(kLanes, width_ - c));
    const Pieces all = pieces(i - skip_, c / kLanes);
    with_constant<kMostPieces>(all.count, [&](auto count) {
      const int64_t height = height_, width = width_, of_bucket = padded_keys_, of_row = padded_width_;
      const Places places(all, count);
      const A* row = x + c;
      A* of_c = sums + c;
      for (int64_t r = 0; r < height; ++r, row += width, of_c += of_row) {
        const auto value = simd::load_first(row, n);
        A* to = of_c + row_id[r] * of_bucket;
        for (int p = 0; p < count; ++p) {
          A* place = to + places.row[size_t(p)];
          simd::store(place, simd::load(place) + simd::keep<A>(value, places.lanes[size_t(p)]));
        }
      }
    });
  }
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
