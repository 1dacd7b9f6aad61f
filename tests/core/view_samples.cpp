#include "tests/support/op_spec.h"

/// Specs of the views, copies and in-place functions of Tensor (core/view.cpp, core/tensor.cpp).
namespace vitrine::testing {
namespace {

using Sizes = std::vector<int64_t>;

Shape shape_of(const Attributes& a, const char* name) {
  const Sizes sizes = a.integers(name);
  return Shape(sizes.begin(), sizes.end());
}

const Register view_spec(OpSpec{
    .name = "view",
    .arguments = {"x"},
    .call = [](const Inputs& in,
               const Attributes& a) { return Outputs(in[0].contiguous().view(shape_of(a, "shape"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3, 4})}, {{"shape", Sizes{6, 4}}}, "merge"},
              {{m.normal({6, 4})}, {{"shape", Sizes{2, 3, -1, 2}}}, "split with an inferred size"},
              {{m.normal({1})}, {{"shape", Sizes{}}}, "to a scalar"},
              {{m.normal({0, 3})}, {{"shape", Sizes{3, 0, 5}}}, "empty"},
              {{m.normal({2, 4, 3})},
               [](const Inputs& in) {
                 return in[0].permute({2, 0, 1}).view({3, 2, 2, 2});
               },
               "split a dim of a permuted tensor"},
              {{m.normal({3, 4, 5})},
               [](const Inputs& in) {
                 return in[0].contiguous().narrow(0, 1, 2).view({8, 5});
               },
               "merge inside a narrowed tensor"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.view({4}); }, "view: [2, 3] f64 cpu does not fit shape [4]"},
              {[x] {
                 x.view({-1, 4});
               },
               "view: [2, 3] f64 cpu does not fit shape [-1, 4]"},
              {[x] {
                 x.view({-1, -1});
               },
               "view: more than one -1 in [-1, -1]"},
              {[x] {
                 x.view({-2, 3});
               },
               "view: negative size in [-2, 3]"},
              {[x] { x.transpose(0, 1).view({6}); },
               "view: [3, 2] f64 cpu with strides [1, 3] has no view of shape [6]; use reshape"}};
    }});

const Register reshape_spec(OpSpec{
    .name = "reshape",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) { return Outputs(in[0].reshape(shape_of(a, "shape"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3, 4})}, {{"shape", Sizes{4, 6}}}, "of a contiguous tensor"},
              {{m.normal({5, 7})}, {{"shape", Sizes{5, 7}}}, "same shape"},
              {{m.normal({0, 4})}, {{"shape", Sizes{2, 0}}}, "empty"},
              {{m.normal({3, 5})},
               [](const Inputs& in) { return in[0].transpose(0, 1).reshape({15}); },
               "that has to copy"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.reshape({4}); }, "reshape: [2, 3] f64 cpu does not fit shape [4]"}};
    }});

const Register permute_spec(OpSpec{
    .name = "permute",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) { return Outputs(in[0].permute(shape_of(a, "dims"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3, 4})}, {{"dims", Sizes{2, 0, 1}}}, "rotate"},
              {{m.normal({2, 3, 2, 3})}, {{"dims", Sizes{0, -1, 2, 1}}}, "negative dim"},
              {{m.normal({})}, {{"dims", Sizes{}}}, "scalar"},
              {{m.normal({2, 0, 3})}, {{"dims", Sizes{1, 2, 0}}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.permute({0}); }, "permute: dims [0] for x [2, 3] f64 cpu"},
              {[x] {
                 x.permute({1, 1});
               },
               "permute: dim 1 twice in [1, 1]"},
              {[x] {
                 x.permute({0, 2});
               },
               "permute: dim 2 is out of range for x [2, 3] f64 cpu"}};
    }});

const Register transpose_spec(OpSpec{
    .name = "transpose",
    .arguments = {"x"},
    .call = [](const Inputs& in,
               const Attributes& a) { return Outputs(in[0].transpose(a.integer("a"), a.integer("b"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3, 4})}, {{"a", 0}, {"b", -1}}, "outer and inner"},
              {{m.normal({2, 3})}, {{"a", 1}, {"b", 1}}, "a dim with itself"},
              {{m.normal({0, 3})}, {{"a", 0}, {"b", 1}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.transpose(0, 2); }, "transpose: dim 2 is out of range for x [2, 3] f64 cpu"}};
    }});

const Register expand_spec(OpSpec{
    .name = "expand",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) { return Outputs(in[0].expand(shape_of(a, "shape"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({3, 1, 2})}, {{"shape", Sizes{4, 3, 5, 2}}}, "a middle and a new dim").reduces(20),
              Sample({m.normal({})}, {{"shape", Sizes{2, 3}}}, "scalar").reduces(6),
              Sample({m.normal({1, 3})}, {{"shape", Sizes{197, -1}}}, "kept size").reduces(197),
              {{m.normal({2, 3})}, {{"shape", Sizes{2, 3}}}, "same shape"},
              {{m.normal({1, 3})}, {{"shape", Sizes{0, 3}}}, "to nothing"},
              {{m.normal({0, 1})}, {{"shape", Sizes{0, 5}}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.expand({3}); }, "expand: [2, 3] f64 cpu has more dims than [3]"},
              {[x] {
                 x.expand({4, 3});
               },
               "expand: [2, 3] f64 cpu does not expand to [4, 3]"},
              {[x] {
                 x.expand({-1, 2, 3});
               },
               "expand: [2, 3] f64 cpu does not expand to [-1, 2, 3]"}};
    }});

const Register narrow_spec(OpSpec{
    .name = "narrow",
    .arguments = {"x"},
    .call =
        [](const Inputs& in, const Attributes& a) {
          return Outputs(in[0].narrow(a.integer("dim"), a.integer("start"), a.integer("length")));
        },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({3, 5, 2})}, {{"dim", 1}, {"start", 1}, {"length", 3}}, "middle dim"},
              {{m.normal({4, 3})}, {{"dim", -1}, {"start", 2}, {"length", 1}}, "one column"},
              {{m.normal({4})}, {{"dim", 0}, {"start", 0}, {"length", 4}}, "everything"},
              {{m.normal({4, 3})}, {{"dim", 0}, {"start", 4}, {"length", 0}}, "nothing"},
              {{m.normal({4, 0})}, {{"dim", 0}, {"start", 1}, {"length", 2}}, "empty rows"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.narrow(1, 2, 2); }, "narrow: [2, 2 + 2) is out of range for dim 1 of x [2, 3] f64 cpu"},
              {[x] { x.narrow(1, -1, 1); }, "narrow: [-1, -1 + 1) is out of range for dim 1 of x [2, 3] f64 cpu"},
              {[x] { x.narrow(2, 0, 1); }, "narrow: dim 2 is out of range for x [2, 3] f64 cpu"}};
    }});

const Register select_spec(OpSpec{
    .name = "select",
    .arguments = {"x"},
    .call = [](const Inputs& in,
               const Attributes& a) { return Outputs(in[0].select(a.integer("dim"), a.integer("index"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({3, 4, 2})}, {{"dim", 1}, {"index", 2}}, "middle dim"},
              {{m.normal({3, 4})}, {{"dim", 0}, {"index", -1}}, "last row"},
              {{m.normal({2, 0})}, {{"dim", 0}, {"index", 1}}, "empty row"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.select(1, 3); }, "select: index 3 is out of range for dim 1 of x [2, 3] f64 cpu"},
              {[x] { x.select(-3, 0); }, "select: dim -3 is out of range for x [2, 3] f64 cpu"}};
    }});

const Register squeeze_spec(OpSpec{
    .name = "squeeze",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) { return Outputs(in[0].squeeze(a.integer("dim"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({3, 1, 4})}, {{"dim", 1}}, "middle dim"},
              {{m.normal({1})}, {{"dim", -1}}, "to a scalar"},
              {{m.normal({0, 1})}, {{"dim", 1}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.squeeze(1); }, "squeeze: dim 1 of x [2, 3] f64 cpu is not 1"}};
    }});

const Register unsqueeze_spec(OpSpec{
    .name = "unsqueeze",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) { return Outputs(in[0].unsqueeze(a.integer("dim"))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({3, 4})}, {{"dim", 1}}, "middle"},
              {{m.normal({3, 4})}, {{"dim", -1}}, "at the end"},
              {{m.normal({})}, {{"dim", 0}}, "scalar"},
              {{m.normal({0})}, {{"dim", 0}}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.unsqueeze(3); }, "unsqueeze: dim 3 is out of range for x [2, 3] f64 cpu"}};
    }});

const Register flatten_spec(OpSpec{
    .name = "flatten",
    .arguments = {"x"},
    .call = [](const Inputs& in,
               const Attributes& a) { return Outputs(in[0].flatten(a.integer("first", 0), a.integer("last", -1))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({2, 3, 4})}, {{"first", 1}}, "but the first dim"},
              {{m.normal({2, 3, 4, 2})}, {{"first", 1}, {"last", 2}}, "middle dims"},
              {{m.normal({})}, Attributes{}, "scalar"},
              {{m.normal({2, 0, 3})}, Attributes{}, "empty"}};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({2, 3});
      return {{[x] { x.flatten(1, 0); }, "flatten: first dim 1 is after last dim 0"},
              {[x] { x.flatten(0, 2); }, "flatten: dim 2 is out of range for x [2, 3] f64 cpu"}};
    }});

const Register contiguous_spec(OpSpec{
    .name = "contiguous", .arguments = {"x"}, .samples = [](Maker& m) -> std::vector<Sample> {
      const auto transposed = [](const Inputs& in) { return in[0].transpose(0, 1).contiguous(); };
      return {{{m.normal({3, 4})}, [](const Inputs& in) { return in[0].contiguous(); }, "of what may be contiguous"},
              {{m.normal({3, 4, 2})}, transposed, "of a transposed tensor"},
              {{m.normal({33, 65})}, transposed, "larger than a tile"},
              {{m.normal({0, 3})}, transposed, "empty"},
              {{m.integers({3, 4}, -5, 5)}, transposed, "of integers"},
              {{m.booleans({3, 4})}, transposed, "of booleans"}};
    }});

const Register clone_spec(OpSpec{.name = "clone",
                                 .arguments = {"x"},
                                 .call = [](const Inputs& in, const Attributes&) { return Outputs(in[0].clone()); },
                                 .samples = [](Maker& m) -> std::vector<Sample> {
                                   return {{{m.normal({3, 5})}, Attributes{}, "plain"},
                                           {{m.normal({})}, Attributes{}, "scalar"},
                                           {{m.normal({2, 0})}, Attributes{}, "empty"}};
                                 },
                                 .errors = [](Maker&) -> std::vector<ErrorSample> {
                                   return {{[] { Tensor().clone(); }, "contiguous: undefined tensor"}};
                                 }});

const Register to_spec(OpSpec{
    .name = "to",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) { return Outputs(in[0].to(parse_dtype(a.text("dtype")))); },
    .samples = [](Maker& m) -> std::vector<Sample> {
      // A cast to a narrower dtype is a staircase: its gradient is that of the identity, which differences cannot show.
      // "to f64" compares it, for the other dtypes, with the identity; so a falsified vjp is noticed there, in f32.
      return {{{m.normal({3, 5})}, {{"dtype", "f64"}}, "to f64"},
              Sample({m.normal({3, 5})}, {{"dtype", "f32"}}, "to f32").values_only(),
              Sample({m.normal({197})}, {{"dtype", "bf16"}}, "to bf16").values_only(),
              Sample({m.normal({197})}, {{"dtype", "f16"}}, "to f16").values_only(),
              Sample({m.uniform({3, 5}, -9, 9)}, {{"dtype", "i64"}}, "floating to i64").values_only(),
              {{m.integers({3, 5}, 0, 200)}, {{"dtype", "u8"}}, "i64 to u8"},
              {{m.integers({3, 5}, -9, 9)}, {{"dtype", "f32"}}, "i64 to f32"},
              {{m.integers({3, 5}, -1, 2)}, {{"dtype", "bool"}}, "i64 to bool"},
              {{m.booleans({3, 5})}, {{"dtype", "f32"}}, "bool to f32"},
              {{m.normal({0, 5})}, {{"dtype", "f64"}}, "empty"}};
    },
    .errors = [](Maker&) -> std::vector<ErrorSample> {
      return {{[] { parse_dtype("f8"); }, "unknown dtype 'f8': write f64, f32, bf16, f16, i64, i32, u8 or bool"}};
    }});

const Register to_device_spec(OpSpec{
    .name = "to_device",
    .arguments = {"x"},
    .call =
        [](const Inputs& in, const Attributes&) {
          const Device here = in[0].device();
          return Outputs(in[0].to(here == Device::cpu() ? Device::emulated() : Device::cpu()).to(here));
        },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {{{m.normal({3, 5})}, Attributes{}, "there and back"},
              {{m.normal({3, 5})}, [](const Inputs& in) { return in[0].to(in[0].device()); }, "to where it is"},
              {{m.integers({4}, -9, 9)}, Attributes{}, "integers"},
              {{m.normal({0, 5})}, Attributes{}, "empty"}};
    }});

/// The in-place functions change a copy; nothing is recorded.
template <class Change>
Sample::Function changed(Change change) {
  return [change](const Inputs& in) {
    const NoGrad no_grad;
    Tensor y = in[0].clone().detach();
    change(y, in);
    return Outputs(y);
  };
}

const Register fill_spec(OpSpec{.name = "fill_", .arguments = {"x"}, .samples = [](Maker& m) -> std::vector<Sample> {
                                  const auto fill = changed([](Tensor& y, const Inputs&) { y.fill_(1.5); });
                                  const auto column =
                                      changed([](Tensor& y, const Inputs&) { y.narrow(-1, 1, 1).fill_(-2); });
                                  return {Sample({m.normal({3, 5})}, fill, "everything").values_only(),
                                          Sample({m.normal({4, 3})}, column, "one column").values_only(),
                                          Sample({m.integers({3, 5}, 0, 9)}, fill, "integers").values_only(),
                                          Sample({m.normal({0, 3})}, fill, "empty").values_only()};
                                }});

const Register copy_spec(OpSpec{
    .name = "copy_", .arguments = {"x", "source"}, .samples = [](Maker& m) -> std::vector<Sample> {
      const auto copy = changed([](Tensor& y, const Inputs& in) { y.copy_(in[1]); });
      return {Sample({m.normal({3, 5}), m.normal({3, 5})}, copy, "same shape").values_only(),
              Sample({m.normal({3, 5}), m.normal({5})}, copy, "broadcast").values_only(),
              Sample({m.normal({7, 3}), m.integers({7, 3}, -9, 9)}, copy, "of integers").values_only(),
              Sample({m.normal({0, 5}), m.normal({5})}, copy, "empty").values_only()};
    }});

const Register add_spec(OpSpec{
    .name = "add_", .arguments = {"x", "other"}, .samples = [](Maker& m) -> std::vector<Sample> {
      const auto add = changed([](Tensor& y, const Inputs& in) { y.add_(in[1]); });
      const auto fan_out = [](const Inputs& in) {
        return Outputs{in[0].transpose(0, 1), in[0].clone(), in[0].flatten()};
      };
      return {Sample({m.normal({3, 5}), m.normal({3, 5})}, add, "same shape").values_only(),
              Sample({m.normal({197, 3}), m.normal({197, 3})}, add, "more than a block").values_only(),
              Sample({m.normal({3, 0}), m.normal({3, 0})}, add, "empty").values_only(),
              Sample({m.normal({5, 7})}, fan_out, "gradients that meet in a leaf").reduces(3)};
    }});

const Register mul_spec(OpSpec{.name = "mul_", .arguments = {"x"}, .samples = [](Maker& m) -> std::vector<Sample> {
                                 const auto halve = changed([](Tensor& y, const Inputs&) { y.mul_(0.5); });
                                 return {Sample({m.normal({3, 5})}, halve, "plain").values_only(),
                                         Sample({m.normal({197, 3})}, halve, "more than a block").values_only(),
                                         Sample({m.normal({0})}, halve, "empty").values_only()};
                               }});

}  // namespace
}  // namespace vitrine::testing
