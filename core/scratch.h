#pragma once
#include <cstdint>

#include "core/allocator.h"

/// Memory in which the tasks of a CPU kernel lay out what they multiply.
namespace vitrine {

constexpr int kLine = 16;  // elements of 4 bytes in a cache line, to multiples of which rows are padded

/// Parts of `size` in n, the last one smaller or not.
constexpr int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }
/// The smallest multiple of `unit` that is at least n.
constexpr int64_t round_up(int64_t n, int64_t unit) { return parts(n, unit) * unit; }

/// Elements from one row of `columns` elements to the next: whole lines, an odd number of them, so that the rows of a
/// column spread over the sets of the first-level cache.
constexpr int64_t row_stride(int64_t columns) { return (round_up(columns, kLine) / kLine | 1) * kLine; }

/// Memory of one task, from the allocator (so that its statistics show it).
template <class A>
class Scratch {
 public:
  explicit Scratch(int64_t elements)
      : bytes_(size_t(elements) * sizeof(A)), data_(allocator(Device::cpu()).allocate(bytes_)) {}
  ~Scratch() { allocator(Device::cpu()).free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// The next `elements`, a multiple of kLine, from the front: of A or a type of its size.
  template <class E = A>
  E* take(int64_t elements) {
    static_assert(sizeof(E) == sizeof(A));
    E* p = reinterpret_cast<E*>(data_) + taken_;
    taken_ += elements;
    return p;
  }

 private:
  size_t bytes_;
  std::byte* data_;
  int64_t taken_ = 0;
};

}  // namespace vitrine
