#include "ops/matmul/bf16_gemm_tn.h"

#include "core/reduce_row.h"
#include "ops/matmul/outer_products.h"

namespace vitrine::bf16_gemm_tn {
namespace {

bool has_dot_product() {
#if defined(__AVX512BF16__)
  return !amx::usable();  // with tiles, tile_gemm is faster
#else
  return false;
#endif
}

}  // namespace

bool suits(const GemmDesc& d) {
  const bool types = d.a.type == Dtype::bf16 && d.c.type == Dtype::bf16;
  return outer_products::suits(d) && types && !d.bias && !d.accumulate && has_dot_product();
}

void run(const GemmDesc& d, const void* a, const void* b, void* c) {
  auto* const pc = static_cast<bf16*>(c);
  outer_products::for_each_part<Bf16Pair>(d, static_cast<const bf16*>(a), static_cast<const bf16*>(b), nullptr,
                                          [&](int64_t i, int64_t j, int64_t rows, Rows<float> sums) {
                                            for (int64_t r = 0; r < rows; ++r)
                                              map_row<float>(
                                                  sums.columns, 0.0f, [](auto x) { return x; },
                                                  pc + (i + r) * d.c.row + j, sums.at(r));
                                          });
}

}  // namespace vitrine::bf16_gemm_tn
