#include "ops/binary/binary.h"
#include "ops/compare/compare.h"
#include "ops/gather/gather.h"
#include "ops/reduce/reduce.h"
#include "ops/where/where.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

Tensor zero() { return scalar(0, {.dtype = Dtype::f64}); }
/// Which of the n entries each id names: bool, index's shape with n behind `dim`.
Tensor named(const Tensor& index, int64_t dim, int64_t n) {
  Shape entries = Shape::filled(index.dim() + 1, 1);
  entries[dim + 1] = n;
  return ops::eq(index.to(Dtype::i64).unsqueeze(dim + 1), arange(n).view(entries));
}
/// y_j = sum of x_i over all i = index_j
Tensor plain_gather(const Tensor& x, int64_t dim, const Tensor& index) {
  const Tensor here = named(index, dim, x.size(dim));
  return ops::sum(ops::where(here, x.to(Dtype::f64).unsqueeze(dim), zero()), dim + 1);
}
/// plain_gather with the same ids [m] everywhere else.
Tensor plain_select(const Tensor& x, int64_t dim, const Tensor& index) {
  Shape along = Shape::filled(x.dim(), 1), everywhere = x.shape();
  along[dim] = everywhere[dim] = index.numel();
  return plain_gather(x, dim, index.reshape(along).expand(everywhere));
}
int64_t dim_of(const Inputs& in, const Attributes& a) {
  const int64_t dim = a.integer("dim");
  return dim < 0 ? dim + in[0].dim() : dim;
}

const Register gather_spec(OpSpec{
    .name = "gather",
    .arguments = {"x", "index"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::gather(in[0], a.integer("dim"), in[1]);
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return plain_gather(in[0], dim_of(in, a), in[1]);
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {
          Sample({m.normal({3, 5}), m.integers({3, 4}, 0, 5)}, {{"dim", 1}}, "last dim").reduces(4),
          Sample({m.normal({5, 3}), m.integers({7, 3}, 0, 5, Dtype::i32)}, {{"dim", 0}}, "first dim, i32").reduces(7),
          Sample({m.normal({2, 4, 3}), m.integers({2, 6, 3}, 0, 4, Dtype::u8)}, {{"dim", -2}}, "middle dim, u8")
              .reduces(6),
          Sample({m.normal({2, 3}), m.integers({2, 197}, 0, 3)}, {{"dim", 1}}, "every id many times").reduces(197),
          Sample({m.normal({3, 40}), m.integers({3, 300}, 0, 40)}, {{"dim", 1}}, "several sorted tiles").reduces(300),
          Sample({m.normal({1, 5}), m.integers({1, 8}, 0, 5)}, {{"dim", 1}}, "one row").reduces(8),
          Sample({m.integers({2, 3}, -9, 9), m.integers({2, 2}, 0, 3)}, {{"dim", 1}}, "integers"),
          Sample({m.normal({2, 3}), m.integers({2, 0}, 0, 3)}, {{"dim", 1}}, "no ids"),
          Sample({m.normal({0, 3}), m.integers({0, 2}, 0, 3)}, {{"dim", 1}}, "no rows"),
          Sample({m.normal({2, 0}), m.integers({2, 0}, 0, 1)}, {{"dim", 1}}, "nothing to read"),
          Sample({m.with_nan({3, 5}), m.integers({3, 40}, 0, 5)}, {{"dim", 1}}, "NaN").values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      return {
          Sample({m.normal({1576, 384}).to(Dtype::f32), m.integers({1576, 384}, 0, 384)}, {{"dim", 1}}, "rows of 384")
              .bench(0, 16. * 1576 * 384)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), ids = m.integers({3, 4}, 0, 5), far = full({3, 1}, 5, {.dtype = Dtype::i64});
      const Tensor low = full({3, 1}, -1, {.dtype = Dtype::i32}), odd = m.integers({2, 4}, 0, 5);
      return {
          {[=] { ops::gather(x, 2, ids); }, "gather: dim 2 is out of range for x [3, 5] f64 cpu"},
          {[=] { ops::gather(x, 1, x); }, "gather: index must be an integer tensor, got [3, 5] f64 cpu"},
          {[=] { ops::gather(x, 1, odd); }, "gather: x [3, 5] f64 cpu and index [2, 4] i64 cpu differ outside dim 1"},
          {[=] { ops::gather(x, 1, far); }, "gather: index[0, 0] is 5, out of range for dim 1 of x [3, 5] f64 cpu"},
          {[=] { ops::gather(x, 1, low); }, "gather: index[0, 0] is -1, out of range for dim 1 of x [3, 5] f64 cpu"},
          {[=] { ops::gather(x, 1, ids.to(Device::emulated())); },
           "gather: x [3, 5] f64 cpu and index [3, 4] i64 emulated have different devices"},
          {[=] { ops::gather(Tensor(), 1, ids); }, "gather: x is undefined"},
          {[=] { ops::gather(x, 1, Tensor()); }, "gather: index is undefined"}};
    }});

const Register scatter_add_spec(OpSpec{
    .name = "scatter_add",
    .arguments = {"x", "index", "src"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::scatter_add(in[0], a.integer("dim"), in[1], in[2]);
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      const int64_t dim = dim_of(in, a);
      const Tensor here = named(in[1], dim, in[0].size(dim));
      return ops::add(in[0], ops::sum(ops::where(here, in[2].unsqueeze(dim + 1), zero()), dim));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      const auto sample = [&m](const Shape& x, const Shape& index, int64_t dim, const char* label) {
        const int64_t n = x[dim], terms = index[dim] + 1;
        return Sample({m.normal(x), m.integers(index, 0, std::max<int64_t>(n, 1)), m.normal(index)}, {{"dim", dim}},
                      label)
            .reduces(terms);
      };
      return {sample({3, 5}, {3, 4}, 1, "last dim"),
              sample({4, 2, 3}, {9, 2, 3}, 0, "first dim"),
              sample({2, 3}, {2, 197}, 1, "every id often"),
              sample({2, 30}, {2, 400}, 1, "several sorted tiles"),
              sample({1, 5}, {1, 6}, 1, "one row"),
              sample({3, 5}, {3, 0}, 1, "nothing to add"),
              sample({0, 5}, {0, 2}, 1, "no rows"),
              Sample({m.normal({3, 5}), m.integers({3, 4}, 0, 5), m.with_nan({3, 4})}, {{"dim", 1}}, "NaN")
                  .reduces(5)
                  .values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), ids = m.integers({3, 4}, 0, 5), src = m.normal({3, 4}),
                   far = ids.clone().fill_(9);
      return {{[=] { ops::scatter_add(x, 1, ids, x); },
               "scatter_add: src [3, 5] f64 cpu and index [3, 4] i64 cpu have different shapes"},
              {[=] { ops::scatter_add(x, 1, ids, src.to(Dtype::f32)); },
               "scatter_add: x [3, 5] f64 cpu and src [3, 4] f32 cpu have different dtypes"},
              {[=] { ops::scatter_add(ids, 1, ids, ids); }, "scatter_add: x must be floating, got [3, 4] i64 cpu"},
              {[=] { ops::scatter_add(x, 1, far, src); },
               "scatter_add: index[0, 0] is 9, out of range for dim 1 of x [3, 5] f64 cpu"},
              {[=] { ops::scatter_add(x, 1, ids, Tensor()); }, "scatter_add: src is undefined"},
              {[=] { ops::scatter_add(x, 1, ids, src.to(Device::emulated())); },
               "scatter_add: x [3, 5] f64 cpu and src [3, 4] f64 emulated have different devices"}};
    }});

const Register index_select_spec(OpSpec{
    .name = "index_select",
    .arguments = {"x", "index"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs {
      return ops::index_select(in[0], a.integer("dim"), in[1]);
    },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return plain_select(in[0], dim_of(in, a), in[1]);
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {
          Sample({m.normal({5, 3}), m.integers({4}, 0, 5)}, {{"dim", 0}}, "rows").reduces(4),
          Sample({m.normal({2, 5, 3}), m.integers({7}, 0, 5, Dtype::i32)}, {{"dim", 1}}, "middle dim, i32").reduces(7),
          Sample({m.normal({3, 4}), m.integers({9}, 0, 4, Dtype::u8)}, {{"dim", -1}}, "columns, u8").reduces(9),
          Sample({m.normal({7, 197}), m.integers({600}, 0, 7)}, {{"dim", 0}}, "several sorted tiles").reduces(600),
          Sample({m.normal({4, 3}), zeros({5}, {.dtype = Dtype::i64})}, {{"dim", 0}}, "one row five times").reduces(5),
          Sample({m.normal({4, 3}), m.integers({0}, 0, 4)}, {{"dim", 0}}, "no ids"),
          Sample({m.normal({4, 0}), m.integers({3}, 0, 4)}, {{"dim", 0}}, "empty rows"),
          Sample({m.with_nan({5, 3}), m.integers({40}, 0, 5)}, {{"dim", 0}}, "NaN").values_only()};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({3, 5}), ids = m.integers({2, 2}, 0, 3), far = full({2}, 3, {.dtype = Dtype::i64});
      return {{[=] { ops::index_select(x, 0, ids); }, "index_select: index must have 1 dim, got [2, 2] i64 cpu"},
              {[=] { ops::index_select(x, 0, far); },
               "index_select: index[0] is 3, out of range for dim 0 of x [3, 5] f64 cpu"},
              {[=] { ops::index_select(x, 5, far); }, "index_select: dim 5 is out of range for x [3, 5] f64 cpu"},
              {[=] { ops::index_select(x, 0, far.to(Device::emulated())); },
               "index_select: x [3, 5] f64 cpu and index [2] i64 emulated have different devices"}};
    }});

const Register embedding_spec(OpSpec{
    .name = "embedding",
    .arguments = {"weight", "ids"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::embedding(in[0], in[1]); },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      Shape shape = in[1].shape();
      shape.push_back(in[0].size(1));
      return plain_select(in[0], 0, in[1]).view(shape);
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      const Attributes none;
      return {Sample({m.normal({7, 4}), m.integers({2, 3}, 0, 7)}, none, "ids [2, 3]").reduces(6),
              Sample({m.normal({5, 33}), m.integers({197}, 0, 5, Dtype::i32)}, none, "197 ids").reduces(197),
              Sample({m.normal({3, 2}), m.integers({}, 0, 3)}, none, "one id"),
              Sample({m.normal({3, 2}), m.integers({2, 0}, 0, 3)}, none, "no ids")};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({1000, 384}).to(Dtype::f32), m.integers({8, 197}, 0, 1000)}, Attributes(), "1000 x 384")
                  .bench(0, 8. * 8 * 197 * 384)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor w = m.normal({3, 5}), ids = m.integers({2, 2}, 0, 3), far = full({2}, 3, {.dtype = Dtype::i64});
      return {{[=] { ops::embedding(w.select(0, 0), ids); },
               "embedding: weight must be [entries, channels], got [5] f64 cpu"},
              {[=] { ops::embedding(w, far); }, "embedding: ids[0] is 3, out of range for dim 0 of x [3, 5] f64 cpu"},
              {[=] { ops::embedding(w, w); }, "embedding: ids must be an integer tensor, got [3, 5] f64 cpu"},
              {[=] { ops::embedding(w, ids.to(Device::emulated())); },
               "embedding: weight [3, 5] f64 cpu and ids [2, 2] i64 emulated have different devices"}};
    }});

}  // namespace
}  // namespace vitrine::testing
