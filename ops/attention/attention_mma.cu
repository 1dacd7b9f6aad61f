#include "ops/attention/attention_cuda.h"
#include "ops/attention/attention_mma_backward_cuda.h"
#include "ops/attention/attention_mma_forward_cuda.h"

namespace vitrine::ops {
inline namespace VITRINE_WORLD {

bool launch_mma_forward(const AttentionInputs& in, Tensor& out, Tensor& lse) {
  if (!mma::fits(in)) return false;
  mma::launch_forward(in, mma::NoTerms(), 0, out, lse);
  return true;
}

bool launch_mma_backward(const AttentionInputs& in, const Tensor& lse, const Tensor& dout, AttentionGradients& to) {
  if (!mma::fits(in) || !mma::fits(dout)) return false;
  if (to.dq.defined() || to.dbias.defined()) mma::launch_dq(in, mma::NoTerms(), 0, lse, dout, to);
  if (to.dk.defined() || to.dv.defined()) mma::launch_dkv(in, mma::NoTerms(), 0, lse, dout, to);
  return true;
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
