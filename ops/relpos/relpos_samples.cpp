#include "ops/relpos/relpos.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

Attributes grid(const char* method, double ratio, int64_t height, int64_t width, int64_t skip) {
  return {{"method", method}, {"ratio", ratio}, {"height", height}, {"width", width}, {"skip", skip}};
}
Tensor ids(const Attributes& a) {
  return ops::relpos_ids(a.text("method", "product"),
                         ops::IrpeFunction::of_ratio(a.number("ratio", 1.9), a.flag("clip", false)),
                         a.integer("height"), a.integer("width"), a.integer("skip", 0));
}

const Register spec(OpSpec{
    .name = "relpos",
    .call = [](const Inputs&, const Attributes& a) -> Outputs { return ids(a); },
    .samples = [](Maker&) -> std::vector<Sample> {
      Attributes clipped = grid("product", 1.9, 5, 5, 0);
      clipped.push_back({"clip", true});
      return {Sample(Inputs{}, grid("product", 1.9, 14, 14, 1), "DeiT's grid, 50 buckets").values_only(),
              Sample(Inputs{}, grid("euclidean", 20, 7, 7, 1), "euclidean").values_only(),
              Sample(Inputs{}, grid("quantization", 33, 5, 9, 2), "quantization, two extra tokens").values_only(),
              Sample(Inputs{}, grid("cross_rows", 1.5, 3, 6, 0), "cross, rows").values_only(),
              Sample(Inputs{}, grid("cross_columns", 1.5, 1, 4, 1), "cross, columns, one row").values_only(),
              Sample(Inputs{}, grid("swin", 1, 7, 7, 0), "Swin's window").values_only(),
              Sample(Inputs{}, clipped, "clip").values_only()};
    },
    .errors = [](Maker&) -> std::vector<ErrorSample> {
      return {{[] { ids(grid("produkt", 1.9, 3, 3, 0)); },
               "relpos: unknown method 'produkt': write euclidean, quantization, cross_rows, cross_columns or product"},
              {[] { ids(grid("product", 1.9, 0, 3, 0)); },
               "irpe_index: height 0 and width 3 must be in [1, 32768] and skip 0 in [0, 32768]"},
              {[] { ids(grid("product", -1, 3, 3, 0)); },
               "irpe_index: alpha -1, beta -2, gamma -8 must satisfy 0 < alpha <= beta <= 16384 and alpha < gamma"},
              {[] {
                 ops::index_from_ids(full({2, 2}, 7, {.dtype = Dtype::i32}), 5);
               },
               "index_from_ids: id 7 of ids [2, 2] i32 cpu is outside [0, 5)"},
              {[] {
                 ops::index_from_ids(full({2, 2}, -1, {.dtype = Dtype::i32, .device = Device::emulated()}), 5);
               },
               "index_from_ids: id -1 of ids [2, 2] i32 emulated is outside [0, 5)"},
              {[] { ops::index_from_ids(full({4}, 0, {.dtype = Dtype::i32}), 5); },
               "index_from_ids: ids [4] i32 cpu must be [queries, keys]"}};
    },
    .composite = true,
    .never_empty = "a grid has at least one cell"});

}  // namespace
}  // namespace vitrine::testing
