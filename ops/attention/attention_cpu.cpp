#include "ops/attention/attention_kernels.h"
#include "ops/attention/attention_rows.h"

namespace vitrine::ops {
namespace {

void forward(const AttentionInputs& in, Tensor& out, Tensor& lse) {
  dispatch_floating(in.q.dtype(),
                    [&]<class T>() { attention_cpu::forward_tasks<T>(in, attention_cpu::NoTerms<T>(), out, lse); });
}

void backward(const AttentionInputs& in, const Tensor& out, const Tensor& lse, const Tensor& dout,
              AttentionGradients& gradients) {
  dispatch_floating(in.q.dtype(), [&]<class T>() {
    attention_cpu::backward_tasks<T>(in, attention_cpu::NoTerms<T>(), out, lse, dout, gradients);
  });
}

const Bind bind_forward(attention_forward, DeviceType::cpu, forward);
const Bind bind_backward(attention_backward, DeviceType::cpu, backward);

}  // namespace
}  // namespace vitrine::ops
