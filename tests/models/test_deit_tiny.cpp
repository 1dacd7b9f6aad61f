#include <zlib.h>

#include <algorithm>

#include "models/classifier.h"
#include "tests/support/models.h"

using namespace vitrine;
using namespace vitrine::testing;

namespace {

// The formulas of tests/fixtures/deit/make_deit_tiny.py.

/// Multiples of 2^-23 in [-1, 1), times `scale`, plus `mean`.
Tensor noise(const std::string& name, const Shape& shape, const TensorOptions& options, double scale = 1,
             double mean = 0) {
  const auto start = uint32_t(crc32(0, reinterpret_cast<const Bytef*>(name.data()), uInt(name.size())));
  std::vector<double> values;
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = start + uint32_t(i);
    x = (x ^ (x >> 16)) * 0x85EBCA6BU;
    x = (x ^ (x >> 13)) * 0xC2B2AE35U;
    x ^= x >> 16;
    values.push_back(mean + scale * ((x >> 8) * 0x1p-23 - 1));
  }
  return from_vector(values, shape, options);
}

Tensor value(const std::string& name, const Shape& shape, const TensorOptions& options) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (has("norm") && name.ends_with("weight")) return noise(name, shape, options, 1. / 4, 1);
  double divisor = 16;
  if (has("lookup_table")) divisor = 2;
  if (has("qkv.weight") || has("fc1.weight") || has("head")) divisor = 8;
  if (has("token") || has("pos_embed")) divisor = 32;
  return noise(name, shape, options, 1 / divisor);
}

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

/// @param exact  the largest relative difference of logits; that of gradients is ten times as large
void check_tiny(const std::string& fixture_name, const std::string& model_name, Dtype dtype, double exact,
                const std::string& rpe = "none") {
  INFO(fixture_name << " " << to_string(dtype));
  const data::Safetensors file = fixture("deit/tiny_" + fixture_name + ".safetensors");
  const TensorOptions options{.dtype = dtype};
  Generator rng;
  const auto model = models::make_classifier({.dtype = dtype, .rng = &rng}, model_name, {.rpe = rpe});
  nn::NamedTensors weights;
  for (const auto& [name, t] : model->state_dict()) weights.emplace_back(name, value(name, t.shape(), options));
  model->load_state_dict(weights);
  model->eval();
  const Tensor logits = model->logits(noise("image", {2, 3, 224, 224}, options, 2));
  CHECK(distance(logits.detach(), file.at("logits")) < exact);
  const Tensor target = from_vector({7, 941}, {2}, {.dtype = Dtype::i64});
  const Tensor loss = ops::cross_entropy(logits, target, {.label_smoothing = 0.1});
  CHECK(loss.item() == Catch::Approx(file.at("loss").item()).epsilon(exact));
  loss.backward();

  nn::NamedTensors parameters = model->parameters();
  std::sort(parameters.begin(), parameters.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const std::vector<double> norms = file.at("norms").to_vector(), products = file.at("products").to_vector();
  REQUIRE(parameters.size() == norms.size());
  const double largest = *std::max_element(norms.begin(), norms.end());
  for (size_t i = 0; i < norms.size(); ++i) {
    const auto& [name, p] = parameters[i];
    INFO(name << ": norm " << norms[i]);
    // Some are 0 but for rounding: in the last block the class token's pairs are all in one bucket.
    const double tolerance = 10 * exact * (norms[i] + 1e-3 * largest);
    CHECK(std::abs(std::sqrt(dot(p.grad(), p.grad())) - norms[i]) < tolerance);
    CHECK(std::abs(dot(p.grad(), noise("product " + name, p.shape(), options)) - products[i]) < tolerance);
    if (const Tensor* whole = file.find("grad." + name)) CHECK(distance(p.grad(), *whole) < std::max(10 * exact, 1e-6));
  }
}

}  // namespace

TEST_CASE("deit: Ti at its published size equals timm's, plain and distilled", "[model]") {
  check_tiny("plain", "deit_tiny_patch16_224", Dtype::f32, 1e-5);
  check_tiny("distilled", "deit_tiny_distilled_patch16_224", Dtype::f32, 1e-5);
}

TEST_CASE("deit: Ti with iRPE equals its equations, on keys and on queries, keys and values", "[model]") {
  check_tiny("k", "deit_tiny_patch16_224", Dtype::f32, 1e-5, "rpe-1.9-product-ctx-1-k");
  check_tiny("qkv", "deit_tiny_patch16_224", Dtype::f32, 1e-5, "rpe-1.9-product-ctx-1-qkv");
}

TEST_CASE("deit: Ti in f64 equals timm's and the equations to 1e-10", "[.][model][slow]") {
  check_tiny("plain", "deit_tiny_patch16_224", Dtype::f64, 1e-10);
  check_tiny("distilled", "deit_tiny_distilled_patch16_224", Dtype::f64, 1e-10);
  check_tiny("k", "deit_tiny_patch16_224", Dtype::f64, 1e-10, "rpe-1.9-product-ctx-1-k");
  check_tiny("qkv", "deit_tiny_patch16_224", Dtype::f64, 1e-10, "rpe-1.9-product-ctx-1-qkv");
}
