#include "ops/linear/linear.h"
#include "ops/patch_embed/patch_embed.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

Tensor plain_patches(const Tensor& x, int64_t size) {
  const int64_t b = x.size(0), c = x.size(1), h = x.size(2) / size, w = x.size(3) / size;
  return x.reshape({b, c, h, size, w, size}).permute({0, 2, 4, 1, 3, 5}).reshape({b, h * w, c * size * size});
}

const Register patchify_spec(OpSpec{
    .name = "patchify",
    .arguments = {"x"},
    .call = [](const Inputs& in, const Attributes& a) -> Outputs { return ops::patchify(in[0], a.integer("size")); },
    .reference = [](const Inputs& in, const Attributes& a) -> Outputs {
      return plain_patches(in[0], a.integer("size"));
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({2, 3, 6, 9})}, {{"size", 3}}, "odd patches"),
              Sample({m.normal({2, 3, 16, 24})}, {{"size", 8}}, "whole packs"),
              Sample({m.normal({1, 2, 5, 197})}, {{"size", 1}}, "single pixels"),
              Sample({m.normal({1, 3, 16, 16})}, {{"size", 16}}, "one patch"),
              Sample({m.normal({0, 3, 4, 4})}, {{"size", 2}}, "no images"),
              Sample({m.normal({2, 3, 0, 4})}, {{"size", 2}}, "no pixels"),
              Sample({m.with_nan({1, 3, 6, 6})}, {{"size", 3}}, "NaN").values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 3 * 224 * 224;
      return {Sample({m.normal({8, 3, 224, 224})}, {{"size", 16}}, "DeiT b8").bench(0, 8 * n)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({1, 3, 6, 9}), flat = m.normal({6, 9}), ids = m.integers({1, 3, 6, 9}, 0, 2);
      return {{[x] { ops::patchify(x, 4); }, "patchify: patches of 4 do not tile x [1, 3, 6, 9] f64 cpu"},
              {[x] { ops::patchify(x, 0); }, "patchify: patches of 0 do not tile x [1, 3, 6, 9] f64 cpu"},
              {[flat] { ops::patchify(flat, 3); }, "patchify: x must be [B, C, H, W], got [6, 9] f64 cpu"},
              {[ids] { ops::patchify(ids, 3); }, "patchify: x must be floating, got [1, 3, 6, 9] i64 cpu"}};
    }});

const Register patch_embed_spec(OpSpec{
    .name = "patch_embed",
    .arguments = {"x", "weight", "bias"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::patch_embed(in[0], in[1], in[2]); },
    .reference = [](const Inputs& in, const Attributes&) -> Outputs {
      return ops::linear(plain_patches(in[0], in[1].size(3)), in[1].flatten(1), in[2]);
    },
    .samples = [](Maker& m) -> std::vector<Sample> {
      return {Sample({m.normal({2, 3, 6, 9}), m.normal({5, 3, 3, 3}), m.normal({5})}, Attributes{}, "odd patches")
                  .reduces(27),
              Sample({m.normal({2, 3, 8, 8}), m.normal({7, 3, 4, 4})}, Attributes{}, "no bias").reduces(48),
              Sample({m.normal({0, 3, 8, 8}), m.normal({7, 3, 4, 4}), m.normal({7})}, Attributes{}, "no images")};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double tokens = 8. * 196;
      return {Sample({m.normal({8, 3, 224, 224}), m.normal({384, 3, 16, 16}, 0, 0.04), m.normal({384})}, Attributes{},
                     "DeiT-S b8")
                  .bench(2 * tokens * 768 * 384, 4 * (tokens * (768 + 384) + 768 * 384))};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({1, 3, 6, 9}), w = m.normal({5, 3, 4, 4}), wide = m.normal({5, 3, 3, 4});
      const Tensor other = m.normal({5, 2, 3, 3}), good = m.normal({5, 3, 3, 3}), bias = m.normal({4});
      const Tensor half = good.to(Dtype::f16), flat = m.normal({6, 9});
      return {
          {[=] { ops::patch_embed(x, w); }, "patch_embed: patches of 4 do not tile x [1, 3, 6, 9] f64 cpu"},
          {[=] { ops::patch_embed(x, {}); }, "patch_embed: weight is undefined"},
          {[=] { ops::patch_embed(x, wide); }, "patch_embed: weight must be [D, C, P, P], got [5, 3, 3, 4] f64 cpu"},
          {[=] { ops::patch_embed(x, other); },
           "patch_embed: x [1, 3, 6, 9] f64 cpu and weight [5, 2, 3, 3] f64 cpu have different channels"},
          {[=] { ops::patch_embed(x, good, bias); },
           "patch_embed: bias [4] f64 cpu does not match weight [5, 3, 3, 3] f64 cpu"},
          {[=] { ops::patch_embed(x, half); },
           "patch_embed: x [1, 3, 6, 9] f64 cpu and weight [5, 3, 3, 3] f16 cpu have different dtypes"},
          {[=] { ops::patch_embed(flat, good); }, "patch_embed: x must be [B, C, H, W], got [6, 9] f64 cpu"},
          {[=] { ops::patch_embed(x, good.to(Device::emulated())); },
           "patch_embed: x [1, 3, 6, 9] f64 cpu and weight [5, 3, 3, 3] f64 emulated have different devices"}};
    }});

}  // namespace
}  // namespace vitrine::testing
