#include "ops/bucket_gather/bucket_gather.h"
#include "ops/compare/compare.h"
#include "ops/reduce/reduce.h"
#include "ops/where/where.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

/// The index of a call: an iRPE grid where the attributes name one, else the listed ids.
ops::RelposIndex grid_of(const Attributes& a, Device device) {
  const auto g = ops::IrpeFunction::of_ratio(a.number("ratio", 1.9));
  return ops::irpe_index(ops::parse_irpe_method(a.text("method")), g, a.integer("height"), a.integer("width"),
                         a.integer("skip", 0))
      .to(device);
}
Attributes grid(const char* method, int64_t height, int64_t width, int64_t skip) {
  return {{"method", method}, {"height", height}, {"width", width}, {"skip", skip}};
}
Attributes buckets(int64_t n) { return {{"buckets", n}}; }

Tensor ids_or_none(const Inputs& in) { return in.size() > 1 ? in[1] : Tensor(); }

/// Which bucket each pair falls into: bool [Lq, Lk, K].
Tensor falls_into(const Inputs& in, const Attributes& a, int64_t buckets) {
  const Tensor ids = ids_or_none(in).defined() ? in[1] : grid_of(a, Device::cpu()).ids();
  return ops::eq(ids.to(Dtype::i64).unsqueeze(-1), arange(buckets));
}
/// y[.., i, j] = sum of x[.., i, t] over all t = id(i, j)
Outputs plain_gather(const Inputs& in, const Attributes& a) {
  const Tensor zero = scalar(0, {.dtype = Dtype::f64}), here = falls_into(in, a, in[0].size(-1));
  return ops::sum(ops::where(here, in[0].unsqueeze(-2), zero), -1);
}
Outputs plain_sum(const Inputs& in, const Attributes& a) {
  const int64_t buckets = a.find("buckets") ? a.integer("buckets") : grid_of(a, Device::cpu()).buckets;
  const Tensor zero = scalar(0, {.dtype = Dtype::f64}), here = falls_into(in, a, buckets);
  return ops::sum(ops::where(here, in[0].unsqueeze(-1), zero), -2);
}
Outputs plain_table(const Inputs& in, const Attributes& a) { return plain_gather({in[0].unsqueeze(1), in[1]}, a); }

const Register gather_spec(OpSpec{
    .name = "bucket_gather",
    .arguments = {"x", "ids"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ids_or_none(in).defined() ? ops::bucket_gather(in[0], in[1])
                                       : ops::bucket_gather(in[0], grid_of(a, in[0].device()));
    },
    .reference = plain_gather,
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({2, 3, 4, 6}), m.integers({4, 5}, 0, 6, Dtype::i32)}, {}, "listed ids").reduces(5),
              Sample({m.normal({2, 3, 7}), m.integers({3, 197}, 0, 7, Dtype::u8)}, {}, "bytes, row longer than a block")
                  .reduces(197),
              Sample({m.normal({1, 2, 17, 50}), Tensor()}, grid("product", 4, 4, 1), "product on a grid, class token")
                  .reduces(17),
              Sample({m.normal({2, 15, 7}), Tensor()}, grid("euclidean", 3, 5, 0), "euclidean on a grid").reduces(15),
              Sample({m.normal({2, 8, 8}), Tensor()}, grid("cross_rows", 2, 3, 2), "cross on a grid, two extra tokens")
                  .reduces(8),
              Sample({m.normal({0, 3, 4, 6}), m.integers({4, 5}, 0, 6, Dtype::i32)}, {}, "empty batch"),
              Sample({m.normal({2, 4, 6}), m.integers({4, 0}, 0, 6, Dtype::i32)}, {}, "no keys"),
              Sample({m.with_nan({4, 6}), m.integers({4, 40}, 0, 6, Dtype::i32)}, {}, "NaN").values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 6 * 197;
      return {Sample({m.normal({8, 6, 197, 50}), Tensor()}, grid("product", 14, 14, 1), "DeiT-S b8")
                  .bench(0, 4 * n * (50 + 197))};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 4, 6}), ids = m.integers({4, 5}, 0, 6, Dtype::i32),
                   longs = m.integers({4, 5}, 0, 6);
      const Tensor high = full({4, 5}, 6, {.dtype = Dtype::i32}), other = m.integers({3, 5}, 0, 6, Dtype::i32);
      const auto g = ops::IrpeFunction::of_ratio(1.9);
      return {{[=] { ops::bucket_gather(x, longs); }, "index_from_ids: ids must be u8 or i32, got [4, 5] i64 cpu"},
              {[=] { ops::bucket_gather(x, high); }, "index_from_ids: id 6 of ids [4, 5] i32 cpu is outside [0, 6)"},
              {[=] { ops::bucket_gather(x.to(Device::emulated()), high.to(Device::emulated())); },
               "index_from_ids: id 6 of ids [4, 5] i32 emulated is outside [0, 6)"},
              {[=] { ops::bucket_gather(x, other); },
               "bucket_gather: x [2, 4, 6] f64 cpu must end in [3 queries, 6 buckets]"},
              {[=] { ops::bucket_gather(longs, ids); }, "bucket_gather: x must be floating, got [4, 5] i64 cpu"},
              {[=] { ops::bucket_gather(x, ids.to(Device::emulated())); },
               "bucket_gather: x [2, 4, 6] f64 cpu and ids [4, 5] i32 emulated have different devices"},
              {[=] {
                 ops::bucket_gather(zeros({17, 50}, {.device = Device::emulated()}),
                                    ops::irpe_index(ops::IrpeMethod::product, g, 4, 4, 1));
               },
               "bucket_gather: x [17, 50] f32 emulated and an index on cpu; move it with index.to(device)"}};
    }});

const Register sum_spec(OpSpec{
    .name = "bucket_sum",
    .arguments = {"a", "ids"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ids_or_none(in).defined() ? ops::bucket_sum(in[0], in[1], a.integer("buckets"))
                                       : ops::bucket_sum(in[0], grid_of(a, in[0].device()));
    },
    .reference = plain_sum,
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {
          Sample({m.normal({2, 3, 4, 5}), m.integers({4, 5}, 0, 6, Dtype::i32)}, buckets(6), "listed ids").reduces(5),
          Sample({m.normal({3, 70}), m.integers({3, 70}, 0, 140, Dtype::u8)}, buckets(140),
                 "more buckets than a block sums")
              .reduces(70),
          Sample({m.normal({66, 1, 37}), m.integers({1, 37}, 2, 3, Dtype::u8)}, buckets(4),
                 "one bucket, more rows than a block")
              .reduces(37),
          Sample({m.normal({1, 2, 17, 17}), Tensor()}, grid("product", 4, 4, 1), "product on a grid, class token")
              .reduces(17),
          Sample({m.normal({2, 15, 15}), Tensor()}, grid("quantization", 3, 5, 0), "quantization on a grid")
              .reduces(15),
          Sample({m.normal({197, 2}), m.integers({197, 2}, 0, 3, Dtype::i32)}, buckets(3), "197 queries").reduces(2),
          Sample({m.normal({0, 4, 5}), m.integers({4, 5}, 0, 6, Dtype::i32)}, buckets(6), "empty batch"),
          Sample({m.normal({2, 4, 0}), m.integers({4, 0}, 0, 6, Dtype::i32)}, buckets(6), "no keys: zeros"),
          Sample({m.with_nan({4, 9}), m.integers({4, 9}, 0, 6, Dtype::i32)}, buckets(6), "NaN")
              .reduces(9)
              .values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 6 * 197;
      return {Sample({m.normal({8, 6, 197, 197}), Tensor()}, grid("product", 14, 14, 1), "DeiT-S b8")
                  .bench(n * 197, 4 * n * (50 + 197))};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor a = m.normal({2, 4, 6}), ids = m.integers({4, 5}, 0, 6, Dtype::i32);
      const Tensor high = full({4, 6}, 6, {.dtype = Dtype::i32});
      return {{[=] { ops::bucket_sum(a, ids, 6); }, "bucket_sum: a [2, 4, 6] f64 cpu must end in [4 queries, 5 keys]"},
              {[=] { ops::bucket_sum(a, high, 6); }, "index_from_ids: id 6 of ids [4, 6] i32 cpu is outside [0, 6)"},
              {[=] { ops::bucket_sum(a, ids, -1); }, "index_from_ids: -1 buckets"}};
    }});

const Register table_spec(OpSpec{
    .name = "table_gather",
    .arguments = {"table", "ids"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::table_gather(in[0], in[1]); },
    .reference = plain_table,
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({3, 6}), m.integers({4, 5}, 0, 6, Dtype::i32)}, {}, "heads by buckets").reduces(20),
              Sample({m.normal({9, 2}).transpose(0, 1), m.integers({4, 4}, 0, 9, Dtype::u8)}, {},
                     "Swin's order, transposed")
                  .reduces(16),
              Sample({m.normal({0, 6}), m.integers({4, 5}, 0, 6, Dtype::i32)}, {}, "no heads"),
              Sample({m.with_nan({3, 6}), m.integers({4, 40}, 0, 6, Dtype::i32)}, {}, "NaN").values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor table = m.normal({2, 3, 6}), ids = m.integers({4, 5}, 0, 6, Dtype::i32);
      return {{[=] { ops::table_gather(table, ids); }, "table_gather: table [2, 3, 6] f64 cpu must be [H, 6 buckets]"}};
    },
    .composite = true});

}  // namespace
}  // namespace vitrine::testing
