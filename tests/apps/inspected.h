#pragma once
#include <cstring>

#include "apps/classifier/spec.h"
#include "core/autograd.h"
#include "data/image/image.h"
#include "tests/apps/run_program.h"
#include "tests/support/catch.h"

/// A small classifier to inspect, and the data in its page.
namespace vitrine::testing {

inline constexpr int64_t kSide = 12, kTokens = 10;  // 3 x 3 patches and the class token
inline constexpr size_t kBlocks = 4, kHeads = 2;    // of deit_micro_patch4_28
inline constexpr const char* kHostile = "</script><script>alert(1)</script> & \"x\"";

/// A checkpoint of a small model whose encodings and biases are not at zero.
inline std::string make_checkpoint(const ScratchFolder& folder, const std::string& rpe,
                                   const std::string& model_name = "deit_micro_patch4_28") {
  apps::ClassifierSpec spec;
  spec.model = model_name, spec.data = "shapes";
  spec.options.num_classes = 3, spec.options.image_size = kSide, spec.options.rpe = rpe;
  spec.preprocessing = {.height = kSide, .width = kSide, .mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25}};
  spec.labels = {"one", kHostile, "three"};
  Generator rng{5, 0};
  const auto model = spec.make(Device::cpu(), rng);
  const NoGrad no_grad;
  for (const auto& [name, t] : model->parameters())
    if (name.find("lookup_table") != std::string::npos) Tensor(t).copy_(random_normal(t.shape(), rng, 0, 0.3));
  const std::string file = folder.file("model.safetensors");
  data::write_safetensors(file, {.tensors = model->state_dict(), .metadata = {{apps::kSpecKey, spec.json().dump()}}});
  return file;
}

inline std::string make_image(const ScratchFolder& folder, const std::string& name = "image.png") {
  data::Image image{.height = 20, .width = kSide, .channels = 3, .pixels = {}};
  for (int64_t i = 0; i < image.height * image.width * 3; ++i) image.pixels.push_back(uint8_t(i * 37 % 251));
  data::write_png(folder.file(name), image);
  return folder.file(name);
}

/// The JSON between the tags of the script element `id`.
inline nlohmann::json script_data(const std::string& page, const std::string& id) {
  const std::string start = "id=" + id + ">";
  const size_t from = page.find(start) + start.size();
  return nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
}

inline std::vector<uint8_t> from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  uint32_t word = 0;
  int bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    word = word << 6 | uint32_t(digits.find(c)), bits += 6;
    if (bits >= 8) bits -= 8, bytes.push_back(uint8_t(word >> bits));
  }
  return bytes;
}

/// The rows of one term of one layer, [heads, queries, tokens] in a row.
inline std::vector<double> unpacked(const nlohmann::json& term, bool is_signed) {
  const std::vector<uint8_t> values = from_base64(term["values"]), raw = from_base64(term["scales"]);
  std::vector<float> scales(raw.size() / sizeof(float));
  std::memcpy(scales.data(), raw.data(), raw.size());
  REQUIRE(values.size() == scales.size() * kTokens);
  std::vector<double> x;
  for (size_t i = 0; i < values.size(); ++i)
    x.push_back(scales[i / kTokens] * (is_signed ? int8_t(values[i]) / 127.0 : values[i] / 255.0));
  return x;
}

}  // namespace vitrine::testing
