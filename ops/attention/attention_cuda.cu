#include "ops/attention/attention_cuda.h"

namespace vitrine::ops {
namespace {

void forward(const AttentionInputs& in, Tensor& out, Tensor& lse) {
  if (launch_mma_forward(in, out, lse)) return;
  dispatch_floating(in.q.dtype(), [&]<class T>() { launch_rows_forward<T>(in, NoTerms<accumulate_t<T>>(), out, lse); });
}

void backward(const AttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& to) {
  dispatch_floating(in.q.dtype(), [&]<class T>() {
    launch_delta<T>(in, out, dout, to);
    if (launch_mma_backward(in, lse, dout, to)) return;
    const NoTerms<accumulate_t<T>> none;
    if (to.dq.defined() || to.dbias.defined()) launch_rows_dq<T>(in, none, lse, dout, to);
    if (to.dk.defined() || to.dv.defined()) launch_rows_dkv<T>(in, none, lse, dout, to);
  });
}

const Bind bind_forward(attention_forward, cuda::kKernelDevice, forward);
const Bind bind_backward(attention_backward, cuda::kKernelDevice, backward);

}  // namespace
}  // namespace vitrine::ops
