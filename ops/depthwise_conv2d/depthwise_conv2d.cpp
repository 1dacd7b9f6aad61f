#include "ops/depthwise_conv2d/depthwise_conv2d.h"

#include "core/autograd.h"
#include "ops/depthwise_conv2d/depthwise_conv2d_kernels.h"
#include "ops/reduce/reduce.h"

namespace vitrine::ops {
namespace {

Tensor channels_last(const Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous(); }
Tensor channels_second(const Tensor& x) { return x.permute({0, 3, 1, 2}); }

struct DepthwiseConv2d {
  static constexpr const char* name = "depthwise_conv2d";
  Attributes attributes() const { return {}; }

  Tensor forward(Saver& save, const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    const Tensor image = channels_last(x),
                 taps = weight.reshape({weight.size(0), weight.size(2) * weight.size(3)}).transpose(0, 1).contiguous();
    Tensor y = empty_like(image);
    depthwise_conv2d_apply(image, taps, bias.defined() ? bias.contiguous() : bias, false, y);
    save(image, taps);
    return channels_second(y);
  }
  // dx = the convolution of dy with the kernel turned by half a turn,
  // dweight[c, 0, i, j] = sum x[b, c, h + i - r, w + j - r] dy[b, c, h, w],   dbias[c] = sum dy
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor &image = saved[0], &taps = saved[1], dout = channels_last(dy);
    Gradients result(3);
    if (saved.needs(0)) {
      Tensor dx = empty_like(dout);
      depthwise_conv2d_apply(dout, taps, {}, true, dx);
      result[0] = channels_second(dx);
    }
    if (!saved.needs(1) && !saved.needs(2)) return result;
    const int64_t count = taps.size(0), channels = taps.size(1);
    Tensor parts = empty({image.size(0), count + 1, channels},
                         {image.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32, image.device()});
    depthwise_conv2d_parts(image, dout, parts);
    const Tensor sums = sum(parts, 0).to(dy.dtype());
    const int64_t side = DepthwiseShape(image, count).side;
    result[1] = sums.narrow(0, 0, count).transpose(0, 1).reshape({channels, 1, side, side});
    result[2] = sums.select(0, count).contiguous();
    return result;
  }
};

}  // namespace

Tensor depthwise_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  constexpr const char* op = DepthwiseConv2d::name;
  check_floating(op, "x", x);
  check_defined(op, "weight", weight);
  check_same_device(op, {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check_same_dtype(op, {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  check(x.dim() == 4, "{}: x must be [B, C, H, W], got {}", op, x);
  check(weight.dim() == 4 && weight.size(1) == 1 && weight.size(2) == weight.size(3) && weight.size(2) % 2 == 1,
        "{}: weight must be [C, 1, k, k] with an odd k, got {}", op, weight);
  check(x.size(1) == weight.size(0), "{}: x {} and weight {} have different channels", op, x, weight);
  check(!bias.defined() || bias.shape() == Shape{weight.size(0)}, "{}: bias {} does not match weight {}", op, bias,
        weight);
  return apply(DepthwiseConv2d{}, x, weight, bias);
}

}  // namespace vitrine::ops
