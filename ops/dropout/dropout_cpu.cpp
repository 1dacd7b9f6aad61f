#include "core/parallel.h"
#include "ops/dropout/dropout_kernels.h"

namespace vitrine::ops {
namespace {

/// Elements [begin, end), begin a multiple of 4. Random words of 16 Philox blocks at a time, so that the rounds of all
/// of them run in one vector register.
template <class T>
void dropout_range(const T* x, T* y, int64_t begin, int64_t end, DropMask mask) {
  using A = accumulate_t<T>;
  constexpr int64_t kBlocks = 16, kWords = 4 * kBlocks;
  const A scale = A(mask.scale);
  uint32_t words[kWords];
  for (int64_t i = begin; i < end; i += kWords) {
    const uint64_t first = uint64_t(i) / 4;
    for (int64_t b = 0; b < kBlocks; ++b) {
      const Philox block = mask.draw.block(first + uint64_t(b));
      for (int w = 0; w < 4; ++w) words[4 * b + w] = block.word[w];
    }
    const int64_t n = std::min(kWords, end - i);
    for (int64_t k = 0; k < n; ++k) y[i + k] = mask.keeps(words[k]) ? T(A(x[i + k]) * scale) : T(A(0));
  }
}

void dropout_cpu(const Tensor& x, Tensor& y, const DropMask& mask) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(x.numel(), 8192, [&](int64_t begin, int64_t end) { dropout_range(from, to, begin, end, mask); });
  });
}

void drop_path_cpu(const Tensor& x, Tensor& y, const DropMask& mask) {
  if (x.numel() == 0) return;
  const int64_t rows = x.size(0), n = x.numel() / rows;
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    parallel_for(rows, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* a = from + r * n;
        T* b = to + r * n;
        const A scale = A(mask.scale);
        if (mask.keeps(mask.draw.bits(r))) {
          for (int64_t i = 0; i < n; ++i) b[i] = T(A(a[i]) * scale);
        } else {
          std::fill(b, b + n, T(A(0)));
        }
      }
    });
  });
}

const Bind bind_dropout(dropout_kernel, DeviceType::cpu, dropout_cpu);
const Bind bind_drop_path(drop_path_kernel, DeviceType::cpu, drop_path_cpu);

}  // namespace
}  // namespace vitrine::ops
