#include "core/cuda/emulator/recording.h"
#include "ops/matmul/bf16_gemm_tn.h"
#include "ops/matmul/blocked.h"
#include "ops/matmul/gemm_desc.h"
#include "ops/matmul/matmul_kernels.h"
#include "ops/matmul/onednn.h"
#include "ops/matmul/tile_gemm.h"

// The CPU's products, described once: oneDNN, or our own for bf16 where there are tiles, and for the gradient of a bf16
// weight; plain blocked loops for every dtype.
namespace vitrine::ops {
namespace {

GemmOperand operand(const Tensor& t) {
  GemmOperand o{.type = t.dtype(), .row = t.stride(-2), .column = t.stride(-1)};
  for (int64_t d = 0; d + 2 < t.dim(); ++d) o.batch[size_t(d)] = t.stride(d);
  return o;
}

GemmDesc describe(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& y) {
  GemmDesc desc{.m = y.size(-2), .n = y.size(-1), .k = a.size(-1), .batch_dims = int(y.dim() - 2)};
  for (int d = 0; d < desc.batch_dims; ++d) desc.batch_shape[size_t(d)] = y.size(d);
  desc.a = operand(a), desc.b = operand(b), desc.c = operand(y);
  desc.bias = bias.defined();
  desc.bias_type = y.dtype();
  return desc;
}
const void* data_or_null(const Tensor& t) { return t.defined() ? t.raw_data() : nullptr; }

/// The packed form of b for products like `desc`, made now unless it is there.
const onednn::PackedB& up_to_date(PackedFactor& packed, const GemmDesc& desc, const Tensor& b) {
  const uint64_t version = b.storage()->version();
  const bool same = packed.layout && packed.version == version && packed.rows == desc.m &&
                    packed.source.shares_storage(b) && packed.source.offset() == b.offset() &&
                    packed.source.strides() == b.strides() && packed.source.shape() == b.shape() &&
                    packed.source.dtype() == b.dtype();
  if (!same)
    packed = {.source = b.detach(),
              .version = version,
              .rows = desc.m,
              .layout = std::make_shared<onednn::PackedB>(desc, b.raw_data())};
  return *static_cast<const onednn::PackedB*>(packed.layout.get());
}

void run(const GemmDesc& desc, const void* a, const void* b, const void* bias, void* y,
         const onednn::PackedB* layout = nullptr) {
  if (!layout && tile_gemm::suits(desc)) return tile_gemm::run(desc, a, b, bias, y);
  if (!layout && bf16_gemm_tn::suits(desc)) return bf16_gemm_tn::run(desc, a, b, y);
  onednn::gemm(desc, a, b, bias, y, layout);
}

void library(const Tensor& a, const Tensor& b, const Tensor& bias, PackedFactor* packed, Tensor& y) {
  const GemmDesc desc = describe(a, b, bias, y);
  const onednn::PackedB* layout = packed && desc.batch_dims == 0 ? &up_to_date(*packed, desc, b) : nullptr;
  run(desc, a.raw_data(), b.raw_data(), data_or_null(bias), y.raw_mutable_data(), layout);
}
/// On the emulated device, whose memory is the host's. A product that is recorded packs nothing: b may change before it
/// is replayed.
void library_emulated(const Tensor& a, const Tensor& b, const Tensor& bias, PackedFactor* packed, Tensor& y) {
  if (!emulator::recording()) return library(a, b, bias, packed, y);
  emulator::perform([desc = describe(a, b, bias, y), pa = a.raw_data(), pb = b.raw_data(), pbias = data_or_null(bias),
                     py = y.raw_mutable_data()] { run(desc, pa, pb, pbias, py); });
}
void plain(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  dispatch_floating(y.dtype(), [&]<class T>() {
    blocked_gemm(describe(a, b, bias, y), a.data<T>(), b.data<T>(), bias.defined() ? bias.data<T>() : nullptr,
                 y.mutable_data<T>());
  });
}
const Bind bind_library(product_library, DeviceType::cpu, library);
const Bind bind_library_emulated(product_library, DeviceType::emulated, library_emulated);
const Bind bind_plain(product_plain, DeviceType::cpu, plain);

}  // namespace
}  // namespace vitrine::ops
