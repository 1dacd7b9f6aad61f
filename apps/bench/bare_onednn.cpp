#include "apps/bench/bare_onednn.h"

#include "ops/matmul/onednn.h"

namespace vitrine::apps {

std::function<void()> bare_product(const std::string& op, const testing::Inputs& inputs) {
  const bool linear = op == "linear";
  if ((!linear && op != "matmul") || inputs.size() < 2 || !inputs[0].is_contiguous() || !inputs[1].is_contiguous())
    return {};
  const Tensor &x = inputs[0], &w = inputs[1], bias = linear && inputs.size() > 2 ? inputs[2] : Tensor();
  const Dtype type = x.dtype();
  if ((type != Dtype::f32 && type != Dtype::bf16) || x.dim() < 2 || w.dim() < 2 || x.device() != Device::cpu())
    return {};
  GemmDesc desc;
  desc.k = x.size(-1);
  desc.n = linear ? w.size(0) : w.size(-1);
  desc.m = linear ? x.numel() / x.size(-1) : x.size(-2);
  desc.a = {.type = type, .row = desc.k};
  desc.b = {.type = type, .row = linear ? 1 : desc.n, .column = linear ? desc.k : 1};
  desc.c = {.type = type, .row = desc.n};
  desc.bias = bias.defined();
  desc.bias_type = type;
  if (!linear && x.dim() > 2) {
    if (x.dim() != w.dim() || x.numel() / (desc.m * desc.k) != w.numel() / (desc.k * desc.n)) return {};
    desc.batch_dims = 1;
    desc.batch_shape[0] = x.numel() / (desc.m * desc.k);
    desc.a.batch[0] = desc.m * desc.k, desc.b.batch[0] = desc.k * desc.n, desc.c.batch[0] = desc.m * desc.n;
  }
  Tensor out = zeros({x.numel() / desc.k, desc.n}, x.options());
  return [desc, x, w, bias, out]() mutable {
    onednn::gemm(desc, x.raw_data(), w.raw_data(), bias.defined() ? bias.raw_data() : nullptr, out.raw_mutable_data());
  };
}

}  // namespace vitrine::apps
