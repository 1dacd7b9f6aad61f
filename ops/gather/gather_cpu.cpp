#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "ops/gather/gather_kernels.h"

namespace vitrine::ops {
namespace {

constexpr int64_t kGrain = 16384;  // elements below which a thread does not pay

/// The public functions have checked the ids of CPU tensors.
void take(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = x.size(1), width = x.size(2), m = index.size(1), step = index.size(0) == 1 ? 0 : m;
  const int64_t* ids = index.data<int64_t>();
  dispatch_all(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(y.size(0) * m, std::max<int64_t>(1, kGrain / width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = i / m, id = ids[r * step + (i - r * m)];
        std::copy_n(from + (r * n + id) * width, width, to + i * width);
      }
    });
  });
}

/// For each list of m ids: the positions sorted by id, stable, and where each id's positions start.
struct Lists {
  std::vector<int64_t> positions, starts;

  Lists(const int64_t* ids, int64_t lists, int64_t m, int64_t n)
      : positions(size_t(lists * m)), starts(size_t(lists * (n + 1))) {
    parallel_for(lists, std::max<int64_t>(1, kGrain / (m + n)), [&](int64_t begin, int64_t end) {
      for (int64_t l = begin; l < end; ++l)
        sort(ids + l * m, m, &positions[size_t(l * m)], &starts[size_t(l * (n + 1))], n);
    });
  }
  static void sort(const int64_t* ids, int64_t m, int64_t* position, int64_t* start, int64_t n) {
    for (int64_t j = 0; j < m; ++j) ++start[ids[j] + 1];
    for (int64_t i = 0; i < n; ++i) start[i + 1] += start[i];
    for (int64_t j = 0; j < m; ++j) position[start[ids[j]]++] = j;
    for (int64_t i = n; i > 0; --i) start[i] = start[i - 1];  // each start has moved to the next one
    start[0] = 0;
  }
};

/// to += the rows of src at `positions`, in accumulate_t, in tiles of columns that stay in registers and cache.
template <class T>
void add_list(const T* src, const int64_t* positions, int64_t count, T* to, int64_t width) {
  using A = accumulate_t<T>;
  constexpr int64_t kColumns = 256;
  for (int64_t c = 0; c < width; c += kColumns) {
    const int64_t columns = std::min(kColumns, width - c);
    A sums[kColumns];
    for (int64_t i = 0; i < columns; ++i) sums[i] = A(to[c + i]);
    for (int64_t j = 0; j < count; ++j) {
      const T* row = src + positions[j] * width + c;
      for (int64_t i = 0; i < columns; ++i) sums[i] += A(row[i]);
    }
    for (int64_t i = 0; i < columns; ++i) to[c + i] = T(sums[i]);
  }
}

/// Single elements in place of rows: one pass over the ids of each row adds in the same order and needs no lists.
void add_elements(const Tensor& index, const Tensor& src, Tensor& y) {
  const int64_t rows = y.size(0), n = y.size(1), m = index.size(1), step = index.size(0) == 1 ? 0 : m;
  const int64_t* ids = index.data<int64_t>();
  dispatch_floating(y.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T* from = src.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(rows, std::max<int64_t>(1, kGrain / (n + m)), [&](int64_t begin, int64_t end) {
      std::vector<A> sums(static_cast<size_t>(n));
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t i = 0; i < n; ++i) sums[size_t(i)] = A(to[r * n + i]);
        for (int64_t j = 0; j < m; ++j) sums[size_t(ids[r * step + j])] += A(from[r * m + j]);
        for (int64_t i = 0; i < n; ++i) to[r * n + i] = T(sums[size_t(i)]);
      }
    });
  });
}

void add(const Tensor& index, const Tensor& src, Tensor& y) {
  if (y.size(2) == 1) return add_elements(index, src, y);
  const int64_t rows = y.size(0), n = y.size(1), width = y.size(2), lists = index.size(0), m = index.size(1);
  const Lists sorted(index.data<int64_t>(), lists, m, n);
  dispatch_floating(y.dtype(), [&]<class T>() {
    const T* from = src.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(rows * n, std::max<int64_t>(1, kGrain / (width * (1 + m / n))), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = i / n, l = lists == 1 ? 0 : r;
        const int64_t* start = &sorted.starts[size_t(l * (n + 1) + (i - r * n))];
        if (start[1] > start[0])
          add_list(from + r * m * width, &sorted.positions[size_t(l * m + start[0])], start[1] - start[0],
                   to + i * width, width);
      }
    });
  });
}

const Bind bind_take(take_rows, DeviceType::cpu, take);
const Bind bind_add(add_rows, DeviceType::cpu, add);

}  // namespace
}  // namespace vitrine::ops
