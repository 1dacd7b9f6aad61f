#include "ops/matmul/onednn_primitive.h"

#include <cstring>
#include <utility>

namespace vitrine::onednn {

using dnnl::memory;
using PrimitiveDesc = dnnl::matmul::primitive_desc;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

namespace {
memory::data_type dnnl_type(Dtype t) { return t == Dtype::f32 ? memory::data_type::f32 : memory::data_type::bf16; }
}  // namespace

memory::desc dnnl_desc(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns) {
  memory::dims sizes, strides;
  for (int i = 0; i < d.batch_dims; ++i) {
    const bool repeats = x.batch[i] == 0;
    sizes.push_back(repeats ? 1 : d.batch_shape[i]);
    strides.push_back(repeats ? rows * columns : x.batch[i]);
  }
  sizes.insert(sizes.end(), {rows, columns});
  strides.insert(strides.end(), {x.row, x.column});
  return {sizes, dnnl_type(x.type), strides};
}

namespace {

memory::desc bias_desc(const GemmDesc& d) {
  memory::dims sizes(size_t(d.batch_dims) + 1, 1);
  sizes.push_back(d.n);
  memory::dims strides(sizes.size(), d.n);
  strides.back() = 1;
  return {sizes, dnnl_type(d.bias_type), strides};
}

/// oneDNN's description of `d` as it stands, or nothing where it has no code. `pack_b` leaves b's layout to oneDNN.
std::optional<PrimitiveDesc> describe(const GemmDesc& d, bool pack_b) {
  if (!has_plain_layout(d.a, d.m, d.k) || !has_plain_layout(d.b, d.k, d.n)) return std::nullopt;
  for (int i = 0; i < d.batch_dims; ++i)
    if (d.a.batch[i] == 0 && d.b.batch[i] == 0) return std::nullopt;  // one operand must have the result's size
  const memory::desc a = dnnl_desc(d, d.a, d.m, d.k), c = dnnl_desc(d, d.c, d.m, d.n);
  const memory::desc b =
      pack_b ? memory::desc({d.k, d.n}, dnnl_type(d.b.type), memory::format_tag::any) : dnnl_desc(d, d.b, d.k, d.n);
  const memory::desc bias = d.bias ? bias_desc(d) : memory::desc();
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (d.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  try {
#if DNNL_VERSION_MAJOR >= 3
    return d.bias ? PrimitiveDesc(engine(), a, b, bias, c, attr) : PrimitiveDesc(engine(), a, b, c, attr);
#else
    const auto operation = d.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    return PrimitiveDesc(operation, attr, engine());
#endif
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_unimplemented) return std::nullopt;
    throw;
  }
}

bool contains(const std::optional<PrimitiveDesc>& pd, const char* text) {
  return pd && std::strstr(pd->impl_info_str(), text);
}

/// Whether the AVX-512 bf16 dot product beats f32 arithmetic: twice its rate on Zen 4, half on Sapphire Rapids, where
/// only AMX pays.
bool bf16_dot_product_pays() {
#if defined(__x86_64__)
  return !__builtin_cpu_is("intel");
#else
  return true;
#endif
}

/// Whether oneDNN has blocked kernels for this description, with bf16 instructions if it is bf16. All else is ours: its
/// unblocked f32 code is no faster than blocked_gemm, allocates on every call, and splits k by the number of threads,
/// so that results change with it; its other bf16 code and its reference code are slow.
bool is_fast(const std::optional<PrimitiveDesc>& pd, Dtype type) {
  if (!pd || !contains(pd, "brg")) return false;
  return type == Dtype::f32 || contains(pd, "amx") || (contains(pd, "bf16") && bf16_dot_product_pays());
}

constexpr int kA = 1, kB = 2, kC = 4;

}  // namespace

/// Finds the first fast one of: as asked, and for bf16 with some operands dense, few before many. (In f32 the copies
/// cost what blocked kernels win.)
void Prepared::choose() {
  for (int operands : {0, kA, kB, kC, kA | kB, kA | kC, kB | kC, kA | kB | kC}) {
    if (operands != 0 && (packed || asked.a.type == Dtype::f32)) return;
    run = asked;
    if (operands & kA) run.a = dense(asked, asked.a, asked.m, asked.k);
    if (operands & kB) run.b = dense(asked, asked.b, asked.k, asked.n);
    if (operands & kC) run.c = dense(asked, asked.c, asked.m, asked.n);
    auto candidate = describe(run, packed);
    if (is_fast(candidate, run.a.type)) {
      pd = std::move(candidate);
      return;
    }
  }
}

Prepared::Prepared(const GemmDesc& d, bool pack_b, int thread_count) : asked(d), packed(pack_b), threads(thread_count) {
  choose();
  if (!pd) return;
  copy_a = run.a != asked.a;
  copy_b = run.b != asked.b;
  copy_c = run.c != asked.c;
  primitive = dnnl::matmul(*pd);
  a = memory(pd->src_desc(), engine(), nullptr);
  b = memory(pd->weights_desc(), engine(), nullptr);
  c = memory(pd->dst_desc(), engine(), nullptr);
  if (run.bias) bias = memory(pd->bias_desc(), engine(), nullptr);
  scratch = memory(pd->scratchpad_desc(), engine(), nullptr);
}

}  // namespace vitrine::onednn
