#include "core/cuda/launch.h"
#include "core/cuda/reduce.h"
#include "ops/cross_entropy/cross_entropy_kernels.h"

// One block per row, whose logits stay in cache between the passes. Whether a row is ignored or out of range is the
// same for all threads of its block, so the barriers inside block_reduce are reached by all or by none.
namespace vitrine::ops {
namespace {
constexpr int kBlock = 128, kReduceBlock = 512;

template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock) forward_kernel(TargetRows<T> rows, A* losses, A* row_weights, A* lse) {
  const int64_t r = blockIdx.x, n = rows.n;
  if (rows.ignored(r) || !rows.in_range(r)) {
    if (threadIdx.x == 0) {
      losses[r] = rows.ignored(r) ? A(0) : A(NAN);
      row_weights[r] = lse[r] = 0;
    }
    return;
  }
  const T* x = rows.x + r * n;
  A m = -INFINITY, sum = 0, loss = 0;
  for (int64_t c = threadIdx.x; c < n; c += kBlock) m = max(m, A(x[c]));
  m = cuda::block_reduce<cuda::Max>(m, A(-INFINITY));
  for (int64_t c = threadIdx.x; c < n; c += kBlock) sum += exp(A(x[c]) - m);
  const A l = m + log(cuda::block_reduce<cuda::Sum>(sum, A(0)));
  if (rows.has_dense_q()) {
    for (int64_t c = threadIdx.x; c < n; c += kBlock) loss += rows.dense_q(r, c) * (l - A(x[c]));
    loss = cuda::block_reduce<cuda::Sum>(loss, A(0));
  }
  if (threadIdx.x != 0) return;
  if (!rows.soft) loss += rows.id_q(r) * (l - A(x[rows.id(r)]));
  losses[r] = loss, lse[r] = l;
  row_weights[r] = rows.soft ? A(1) : rows.weight_of(rows.id(r));
}

// One block: a batch has few rows. Thread t adds the rows t, t + 512, ...
template <class A>
__global__ void __launch_bounds__(kReduceBlock)
    reduce_kernel(const A* losses, const A* row_weights, int64_t rows, bool mean, A* loss, A* scale) {
  A total = 0, weight = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kReduceBlock) total += losses[r], weight += row_weights[r];
  total = cuda::block_reduce<cuda::Sum>(total, A(0));
  weight = cuda::block_reduce<cuda::Sum>(weight, A(0));
  if (threadIdx.x != 0) return;
  const A divisor = mean ? weight : A(1);
  *loss = total / divisor, *scale = 1 / divisor;
}

template <class T, class A = accumulate_t<T>>
__global__ void __launch_bounds__(kBlock)
    backward_kernel(const A* dy, const A* scale, TargetRows<T> rows, const A* lse, T* dx, T* dtarget) {
  const int64_t r = blockIdx.x, n = rows.n;
  const T* x = rows.x + r * n;
  dx += r * n;
  if (rows.ignored(r) || !rows.in_range(r)) {
    for (int64_t c = threadIdx.x; c < n; c += kBlock) dx[c] = T(rows.ignored(r) ? A(0) : A(NAN));
    return;
  }
  const A g = scale ? *dy * *scale : dy[r], l = lse[r];
  A q = 0;
  if (rows.has_dense_q()) {
    for (int64_t c = threadIdx.x; c < n; c += kBlock) q += rows.dense_q(r, c);
    q = cuda::block_reduce<cuda::Sum>(q, A(0));
  }
  const int64_t t = rows.soft ? -1 : rows.id(r);
  const A at_t = rows.soft ? A(0) : rows.id_q(r);
  q += at_t;
  for (int64_t c = threadIdx.x; c < n; c += kBlock) {
    const A logit = A(x[c]);
    dx[c] = T(g * (exp(logit - l) * q - rows.dense_q(r, c) - (c == t ? at_t : A(0))));
    if (dtarget) dtarget[r * n + c] = T(g * rows.keep * rows.weight_of(c) * (l - logit));
  }
}

void forward(const Tensor& x, const Tensor& target, const Tensor& weight, const TargetRules& rules, Tensor& losses,
             Tensor& row_weights, Tensor& lse) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    cuda::launch("cross_entropy_forward", forward_kernel<T>, {.grid = losses.numel(), .block = kBlock},
                 target_rows<T>(x, target, weight, rules), losses.mutable_data<A>(), row_weights.mutable_data<A>(),
                 lse.mutable_data<A>());
  });
}
void reduce(const Tensor& losses, const Tensor& row_weights, bool mean, Tensor& loss, Tensor& scale) {
  dispatch_sums(losses, [&]<class A>() {
    cuda::launch("cross_entropy_reduce", reduce_kernel<A>, {.grid = 1, .block = kReduceBlock}, losses.data<A>(),
                 row_weights.data<A>(), losses.numel(), mean, loss.mutable_data<A>(), scale.mutable_data<A>());
  });
}
void backward(const Tensor& dy, const Tensor& scale, const Tensor& x, const Tensor& target, const Tensor& weight,
              const TargetRules& rules, const Tensor& lse, Tensor& dx, Tensor& dtarget) {
  dispatch_floating(x.dtype(), [&]<class T>() {
    using A = accumulate_t<T>;
    cuda::launch("cross_entropy_backward", backward_kernel<T>, {.grid = lse.numel(), .block = kBlock}, dy.data<A>(),
                 scale.defined() ? scale.data<A>() : nullptr, target_rows<T>(x, target, weight, rules), lse.data<A>(),
                 dx.mutable_data<T>(), dtarget.defined() ? dtarget.mutable_data<T>() : nullptr);
  });
}

const Bind bind_forward(cross_entropy_forward, cuda::kKernelDevice, forward);
const Bind bind_reduce(cross_entropy_reduce, cuda::kKernelDevice, reduce);
const Bind bind_backward(cross_entropy_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
