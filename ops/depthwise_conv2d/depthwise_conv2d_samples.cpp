#include "ops/binary/operators.h"
#include "ops/depthwise_conv2d/depthwise_conv2d.h"
#include "ops/pad/pad.h"
#include "tests/support/op_spec.h"

namespace vitrine::testing {
namespace {

/// The image shifted by each tap, times the tap.
Outputs plain(const Inputs& in, const Attributes&) {
  const Tensor &x = in[0], &weight = in[1];
  const int64_t c = x.size(1), h = x.size(2), w = x.size(3), k = weight.size(2), r = k / 2;
  const Tensor padded = ops::pad(x, {{0, 0}, {0, 0}, {r, r}, {r, r}});
  Tensor y = in[2].defined() ? in[2].view({c, 1, 1}).expand({x.size(0), c, h, w}) : zeros(x.shape(), x.options());
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j)
      y = y + padded.narrow(2, i, h).narrow(3, j, w) * weight.select(3, j).select(2, i).view({c, 1, 1});
  return y;
}

const Register spec(OpSpec{
    .name = "depthwise_conv2d",
    .arguments = {"x", "weight", "bias"},
    .call = [](const Inputs& in, const Attributes&) -> Outputs { return ops::depthwise_conv2d(in[0], in[1], in[2]); },
    .reference = plain,
    .samples = [](Maker& m) -> std::vector<Sample> {
      const auto sample = [&](Shape image, int64_t k, bool bias, const char* label) {
        const int64_t c = image[1], sums = image[0] * image[2] * image[3];
        Inputs in{m.normal(image), m.normal({c, 1, k, k})};
        if (bias) in.push_back(m.normal({c}));
        return Sample(std::move(in), Attributes{}, label).reduces(std::max<int64_t>(sums, k * k + 1));
      };
      Sample last = sample({2, 4, 5, 6}, 3, true, "channels last");
      last.inputs[0] = m.normal({2, 5, 6, 4}).permute({0, 3, 1, 2});
      return {sample({2, 3, 4, 5}, 3, true, "3 x 3"),
              sample({1, 8, 3, 4}, 3, false, "whole packs, no bias"),
              last,
              sample({1, 2, 6, 7}, 5, true, "5 x 5"),
              sample({1, 3, 2, 3}, 7, true, "kernel larger than the image"),
              sample({2, 5, 3, 2}, 1, true, "1 x 1"),
              sample({1, 3, 1, 1}, 3, true, "one pixel"),
              sample({1, 131, 2, 3}, 3, true, "more channels than a block"),
              sample({0, 3, 4, 4}, 3, true, "no images"),
              sample({2, 3, 0, 4}, 3, true, "no pixels"),
              sample({2, 0, 3, 4}, 3, true, "no channels"),
              Sample({m.with_nan({1, 2, 5, 6}), m.normal({2, 1, 3, 3})}, Attributes{}, "NaN").reduces(9).values_only()};
    },
    .benches = [](Maker& m) -> std::vector<Sample> {
      const double n = 8. * 384 * 14 * 14;
      return {Sample({m.normal({8, 14, 14, 384}).permute({0, 3, 1, 2}), m.normal({384, 1, 3, 3}), m.normal({384})},
                     Attributes{}, "CPVT-S b8")
                  .bench(18 * n, 8 * n)};
    },
    .errors = [](Maker& m) -> std::vector<ErrorSample> {
      const Tensor x = m.normal({1, 3, 4, 5}), w = m.normal({3, 1, 3, 3}), even = m.normal({3, 1, 2, 2});
      const Tensor dense = m.normal({3, 3, 3, 3}), wide = m.normal({3, 1, 3, 5}), other = m.normal({2, 1, 3, 3});
      const Tensor bias = m.normal({4}), half = w.to(Dtype::f16), flat = m.normal({4, 5});
      const Tensor ids = m.integers({1, 3, 4, 5}, 0, 2);
      const auto shape = [](const char* got) {
        return std::string("depthwise_conv2d: weight must be [C, 1, k, k] with an odd k, got ") + got;
      };
      return {
          {[=] { ops::depthwise_conv2d(x, even); }, shape("[3, 1, 2, 2] f64 cpu")},
          {[=] { ops::depthwise_conv2d(x, dense); }, shape("[3, 3, 3, 3] f64 cpu")},
          {[=] { ops::depthwise_conv2d(x, wide); }, shape("[3, 1, 3, 5] f64 cpu")},
          {[=] { ops::depthwise_conv2d(x, {}); }, "depthwise_conv2d: weight is undefined"},
          {[=] { ops::depthwise_conv2d(x, other); },
           "depthwise_conv2d: x [1, 3, 4, 5] f64 cpu and weight [2, 1, 3, 3] f64 cpu have different channels"},
          {[=] { ops::depthwise_conv2d(x, w, bias); },
           "depthwise_conv2d: bias [4] f64 cpu does not match weight [3, 1, 3, 3] f64 cpu"},
          {[=] { ops::depthwise_conv2d(x, half); },
           "depthwise_conv2d: x [1, 3, 4, 5] f64 cpu and weight [3, 1, 3, 3] f16 cpu have different dtypes"},
          {[=] { ops::depthwise_conv2d(flat, w); }, "depthwise_conv2d: x must be [B, C, H, W], got [4, 5] f64 cpu"},
          {[=] { ops::depthwise_conv2d(ids, w); }, "depthwise_conv2d: x must be floating, got [1, 3, 4, 5] i64 cpu"},
          {[=] { ops::depthwise_conv2d(x, w.to(Device::emulated())); },
           "depthwise_conv2d: x [1, 3, 4, 5] f64 cpu and weight [3, 1, 3, 3] f64 emulated have different devices"}};
    }});

}  // namespace
}  // namespace vitrine::testing
