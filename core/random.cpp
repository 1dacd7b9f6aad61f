#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/parallel.h"

namespace vitrine {
namespace {

/// Fills an f64 CPU tensor with f(i), then converts and moves it.
template <class F>
Tensor draw_tensor(const char* name, const RandomDraw& draw, const Shape& shape, TensorOptions options, F f) {
  check<CaptureError>(!draw.base, "{}: the host draws numbers, which a replay cannot repeat", name);
  Tensor t = empty(shape, {.dtype = Dtype::f64});
  double* p = t.mutable_data<double>();
  parallel_for(t.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) p[i] = f(i);
  });
  return t.to(options.dtype).to(options.device);
}

}  // namespace

Generator& default_generator() {
  thread_local Generator generator;
  return generator;
}

Tensor random_normal(const Shape& shape, Generator& generator, double mean, double std, TensorOptions options) {
  const RandomDraw draw = generator.draw();
  // One Philox block gives a pair of normals from two 64-bit words: element i takes the cosine or sine of block i / 2.
  return draw_tensor("random_normal", draw, shape, options, [=](int64_t i) {
    const Philox block(draw.seed, draw.offset, uint64_t(i) / 2);
    const double u = (double(uint64_t(block.word[0]) << 21 | block.word[1] >> 11) + 0.5) * 0x1p-53;
    const double angle = 2 * std::numbers::pi * (double(block.word[2]) + 0.5) * 0x1p-32;
    return mean + std * std::sqrt(-2 * std::log(u)) * (i % 2 ? std::sin(angle) : std::cos(angle));
  });
}

Tensor random_uniform(const Shape& shape, Generator& generator, double low, double high, TensorOptions options) {
  const RandomDraw draw = generator.draw();
  return draw_tensor("random_uniform", draw, shape, options,
                     [=](int64_t i) { return low + (high - low) * double(draw.uniform(i)); });
}

Tensor random_integers(const Shape& shape, Generator& generator, int64_t low, int64_t high, TensorOptions options) {
  check<ValueError>(low < high, "random_integers: empty range [{}, {})", low, high);
  const RandomDraw draw = generator.draw();
  const uint64_t range = uint64_t(high - low);
  return draw_tensor("random_integers", draw, shape, options,
                     [=](int64_t i) { return double(low + int64_t(uint64_t(draw.bits(i)) * range >> 32)); });
}

}  // namespace vitrine
