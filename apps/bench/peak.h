#pragma once
#include <cstdint>
#include <map>

#include "core/dtype.h"

namespace vitrine::apps {

/// What the processor can do, measured in this run with the threads of this run: the denominators of "percent of peak".
class Peaks {
 public:
  /// Multiply-adds on registers alone, all threads, in FLOP/s (two per multiply-add). For bf16, which has no such loop
  /// in portable C++, the best of oneDNN's products of square matrices.
  double flops(Dtype dtype);
  /// y = s * x over x and y of together about `bytes` bytes, all threads, in bytes read and written per second. Small
  /// sizes stay in a cache, so an op is measured against memory as near as its own.
  double bandwidth(double bytes);
  /// The same over arrays of 256 MiB each.
  double dram();
  /// The share of the faster limit that an op reaches which takes `ms` for so many flops and bytes: its time on a
  /// machine limited only by these two, divided by its time, in percent.
  double percent(double flops_count, double bytes, Dtype dtype, double ms);

 private:
  std::map<Dtype, double> flops_;
  std::map<int, double> bandwidth_;  ///< by log2 of the bytes
  double dram_ = 0;
};

/// More floating-point operations per byte than any row-wise op has: limited by arithmetic.
inline bool is_product(double flops, double bytes) { return flops > 8 * bytes; }

}  // namespace vitrine::apps
