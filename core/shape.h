#pragma once
#include <algorithm>
#include <initializer_list>
#include <string>

#include "core/error.h"

namespace vitrine {

/// Sizes (or strides) of at most 8 dimensions, stored inline.
class Shape {
 public:
  static constexpr int64_t kMaxDims = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : Shape(sizes.begin(), sizes.end()) {}
  template <class It>
  Shape(It first, It last) {
    for (; first != last; ++first) push_back(*first);
  }
  static Shape filled(int64_t dims, int64_t value) {
    Shape s;
    for (int64_t i = 0; i < dims; ++i) s.push_back(value);
    return s;
  }

  int64_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  int64_t& operator[](int64_t i) { return sizes_[i]; }
  int64_t operator[](int64_t i) const { return sizes_[i]; }
  int64_t back() const { return sizes_[count_ - 1]; }
  int64_t* begin() { return sizes_; }
  int64_t* end() { return sizes_ + count_; }
  const int64_t* begin() const { return sizes_; }
  const int64_t* end() const { return sizes_ + count_; }

  void push_back(int64_t n) {
    check(count_ < kMaxDims, "shape: more than {} dimensions", kMaxDims);
    sizes_[count_++] = n;
  }
  void insert(int64_t at, int64_t n) {
    push_back(n);
    std::rotate(begin() + at, end() - 1, end());
  }
  void erase(int64_t at) {
    std::copy(begin() + at + 1, end(), begin() + at);
    --count_;
  }

  /// Product of the sizes; 1 for a scalar.
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t s : *this) n *= s;
    return n;
  }
  bool operator==(const Shape& o) const { return std::equal(begin(), end(), o.begin(), o.end()); }

 private:
  int64_t sizes_[kMaxDims] = {};
  int64_t count_ = 0;
};

/// "[2, 197, 192]".
std::string to_string(const Shape& shape);
/// Row-major strides, in elements.
Shape contiguous_strides(const Shape& shape);
/// The shape that NumPy broadcasting gives. @throws ShapeError naming `op` and both shapes
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

}  // namespace vitrine
