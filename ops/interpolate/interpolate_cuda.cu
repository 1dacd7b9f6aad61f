#include "core/cuda/launch.h"
#include "ops/interpolate/interpolate_kernels.h"

namespace vitrine::ops {
namespace {
constexpr int kBlock = 256;

// Thread e makes element e of y, [outer, n_out, inner] in row-major order: neighbouring threads read neighbouring
// elements of x along `inner`, or overlapping windows where inner is 1. No barriers.
template <class From, class To, class A = accumulate_t<From>>
__global__ void __launch_bounds__(kBlock)
    resample_kernel(const From* x, const int32_t* starts, const int32_t* offsets, const A* weights, To* y,
                    int64_t elements, int64_t n_in, int64_t n_out, int64_t inner) {
  const int64_t e = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (e >= elements) return;
  const int64_t line = e / inner, i = e - line * inner, outer = line / n_out, o = line - outer * n_out;
  const int64_t first = offsets[o], count = offsets[o + 1] - first;
  const From* from = x + (outer * n_in + starts[o]) * inner + i;
  A sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += weights[first + k] * A(from[k * inner]);
  y[e] = To(sum);
}

void resample(const Tensor& x, const AxisTable& table, Tensor& y) {
  dispatch_pair(x, y, [&]<class From, class To>() {
    cuda::launch("resample_axis", resample_kernel<From, To>,
                 {.grid = (y.numel() + kBlock - 1) / kBlock, .block = kBlock}, x.data<From>(),
                 table.starts.data<int32_t>(), table.offsets.data<int32_t>(), table.weights.data<accumulate_t<From>>(),
                 y.mutable_data<To>(), y.numel(), x.size(1), y.size(1), y.size(2));
  });
}

const Bind bind(resample_axis, cuda::kKernelDevice, resample);

}  // namespace
}  // namespace vitrine::ops
